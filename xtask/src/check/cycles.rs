//! Finds import cycles between modules of the same folder.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Import;

/// For each module, the modules that it imports, each with the place of one import.
type ImportGraph<'a> = BTreeMap<&'a String, BTreeMap<&'a String, &'a str>>;

/// Returns a line per cycle between modules of the same folder. A parent and its child may import each other.
pub(super) fn find(imports: &[Import]) -> Vec<String> {
    let mut graphs: BTreeMap<&[String], ImportGraph<'_>> = BTreeMap::new();
    for import in imports {
        let shared = import.from.iter().zip(&import.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (import.from.get(shared), import.to.get(shared)) {
            let graph = graphs.entry(&import.from[..shared]).or_default();
            graph.entry(from).or_default().entry(to).or_insert(&import.place);
        }
    }
    graphs.iter().flat_map(|(folder, graph)| cycles_in(folder, graph)).collect()
}

/// Cycles in one folder: a shortest one for each set of modules that import each other.
fn cycles_in(folder: &[String], graph: &ImportGraph<'_>) -> Vec<String> {
    let mut reported: BTreeSet<&String> = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        if reported.contains(module) {
            continue;
        }
        let Some(cycle) = shortest(graph, module) else { continue };
        let prefix = folder.iter().map(|part| format!("{part}::")).collect::<String>();
        let steps = cycle.windows(2).map(|pair| {
            let place = graph[pair[0]][pair[1]];
            format!("{prefix}{} imports {prefix}{} ({place})", pair[0], pair[1])
        });
        found.push(format!("import cycle: {}", steps.collect::<Vec<_>>().join(", ")));
        reported.extend(cycle);
    }
    found
}

/// A shortest import path from a module back to itself, both ends included.
fn shortest<'a>(graph: &ImportGraph<'a>, start: &'a String) -> Option<Vec<&'a String>> {
    let mut paths = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for next in graph.get(path[path.len() - 1]).into_iter().flat_map(BTreeMap::keys) {
                let mut path = path.clone();
                path.push(next);
                if *next == start {
                    return Some(path);
                }
                if seen.insert(*next) {
                    longer.push(path);
                }
            }
        }
        paths = longer;
    }
    None
}
