//! Modules that import each other in a circle, beside each other in a folder.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Import;

/// A module, and those that it imports, each with one place where it does.
type Graph<'a> = BTreeMap<&'a String, BTreeMap<&'a String, &'a str>>;

/// One line for each circle between the children of a folder. A parent and its child may import each other.
pub(super) fn find(imports: &[Import]) -> Vec<String> {
    let mut graphs: BTreeMap<&[String], Graph<'_>> = BTreeMap::new();
    for import in imports {
        let shared = import.from.iter().zip(&import.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (import.from.get(shared), import.to.get(shared)) {
            let graph = graphs.entry(&import.from[..shared]).or_default();
            graph.entry(from).or_default().entry(to).or_insert(&import.place);
        }
    }
    graphs.iter().flat_map(|(folder, graph)| circles(folder, graph)).collect()
}

/// The circles of one folder: of each set of modules that reach each other, a shortest one.
fn circles(folder: &[String], graph: &Graph<'_>) -> Vec<String> {
    let mut reported: BTreeSet<&String> = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        if reported.contains(module) {
            continue;
        }
        let Some(circle) = shortest(graph, module) else { continue };
        let prefix = folder.iter().map(|part| format!("{part}::")).collect::<String>();
        let steps = circle.windows(2).map(|pair| {
            let place = graph[pair[0]][pair[1]];
            format!("{prefix}{} imports {prefix}{} ({place})", pair[0], pair[1])
        });
        found.push(format!("import cycle: {}", steps.collect::<Vec<_>>().join(", ")));
        reported.extend(circle);
    }
    found
}

/// The shortest way from a module back to itself, both ends included.
fn shortest<'a>(graph: &Graph<'a>, start: &'a String) -> Option<Vec<&'a String>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in graph.get(way[way.len() - 1]).into_iter().flat_map(BTreeMap::keys) {
                let mut way = way.clone();
                way.push(next);
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
