//! Enforces the architecture: which crates depend on which, which modules import which, no cycles, no long files.

mod cycles;
mod imports;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ktape_tests::run;

use self::imports::Import;
use self::rules::{CrateRules, Rules};

/// Most lines of a source file that is not listed as an exception.
const MOST_LINES: usize = 500;

/// Check the workspace against `xtask/arrows.toml`, and print all that is wrong.
///
/// # Errors
/// If anything is wrong, or cannot be read.
pub fn check(root: &Path) -> Result<()> {
    let file = root.join("xtask/arrows.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let rules = Rules::parse(&text).with_context(|| format!("cannot read {}", file.display()))?;
    let mut problems = crates(&rules, &dependencies(root)?);
    for (name, rules) in &rules.crates {
        for source_root in source_roots(&root.join(&rules.path))? {
            let sources = sources(root, &source_root)?;
            let imports = imports_of(&sources)?;
            // A program of its own beside the package's library or program has no layers to speak of.
            if source_root == root.join(&rules.path).join("src") {
                problems.extend(arrows(name, rules, &sources, &imports));
            }
            problems.extend(cycles::find(&imports));
        }
    }
    problems.extend(long_files(root, &rules)?);
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!(
            "the architecture is violated in {} places: see ARCHITECTURE.md and xtask/arrows.toml",
            problems.len()
        );
    }
    Ok(())
}

/// A source file, and the module that it is.
struct Source {
    /// Relative to the repository.
    shown: String,
    /// From the crate's root, which is empty.
    module: Vec<String>,
    text: String,
}

/// The dependencies of each package of the workspace on others of it.
fn dependencies(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut metadata = run::cargo(root);
    let text = run::output(metadata.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let own: BTreeSet<String> = packages.iter().map(name).collect();
    let depends = |package: &serde_json::Value| {
        list(&package["dependencies"]).iter().map(name).filter(|n| own.contains(n)).collect()
    };
    Ok(packages.iter().map(|package| (name(package), depends(package))).collect())
}

/// Crates that are not listed, or depend on what they must not.
fn crates(rules: &Rules, dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, depends) in dependencies {
        let Some(rules) = rules.crates.get(name) else {
            problems.push(format!("xtask/arrows.toml: crate {name} is not listed"));
            continue;
        };
        for other in depends.iter().filter(|other| !rules.depends.contains(*other)) {
            let allowed = list(&rules.depends);
            problems.push(format!(
                "{}/Cargo.toml: {name} must not depend on {other} (allowed: {allowed})",
                rules.path
            ));
        }
    }
    problems
}

/// Imports between the modules at the top of a crate that are not allowed.
fn arrows(name: &str, rules: &CrateRules, sources: &[Source], imports: &[Import]) -> Vec<String> {
    let mut problems = Vec::new();
    let modules: BTreeSet<&String> = sources.iter().filter_map(|source| source.module.first()).collect();
    for module in modules.iter().filter(|module| !rules.modules.contains_key(**module)) {
        problems.push(format!("xtask/arrows.toml: module {module} of {name} is not listed"));
    }
    for module in rules.modules.keys().filter(|module| !modules.contains(module)) {
        problems.push(format!("xtask/arrows.toml: {name} has no module {module}"));
    }
    for import in imports {
        let (Some(from), Some(to)) = (import.from.first(), import.to.first()) else { continue };
        let Some(allowed) = rules.modules.get(from) else { continue };
        if from != to && !allowed.contains(to) {
            let allowed = list(allowed);
            let place = &import.place;
            problems.push(format!("{place}: {from} must not import {to} (allowed: {allowed})"));
        }
    }
    problems
}

fn list(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Source files that are too long, and exceptions that are needed no more.
fn long_files(root: &Path, rules: &Rules) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut lines = BTreeMap::new();
    for rules in rules.crates.values() {
        for file in rust_files(&root.join(&rules.path))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            lines.insert(shown(root, &file), text.lines().count());
        }
    }
    for (file, count) in &lines {
        if *count > MOST_LINES && !rules.long.contains_key(file) {
            problems.push(format!(
                "{file}: {count} lines, at most {MOST_LINES} are allowed: split it by meaning"
            ));
        }
    }
    for file in rules.long.keys().filter(|file| lines.get(*file).is_none_or(|count| *count <= MOST_LINES)) {
        problems.push(format!("xtask/arrows.toml: {file} is not too long: remove the exception"));
    }
    Ok(problems)
}

/// The directories of a package that hold a crate's root: `src`, and those of further programs.
fn source_roots(package: &Path) -> Result<Vec<PathBuf>> {
    let src = package.join("src");
    let mut roots = Vec::new();
    if let Ok(programs) = fs::read_dir(src.join("bin")) {
        for entry in programs {
            roots.push(entry.context("cannot list a directory")?.path());
        }
    }
    roots.push(src);
    Ok(roots)
}

/// The sources of a crate, without its tests.
fn sources(root: &Path, source_root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for file in rust_files(source_root)? {
        let path = file.strip_prefix(source_root).unwrap_or(&file);
        let Some(module) = module_of(path) else { continue };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        sources.push(Source { shown: shown(root, &file), module, text });
    }
    Ok(sources)
}

/// The module of a file, by its path below the crate's root; `None` for tests and programs of their own.
fn module_of(path: &Path) -> Option<Vec<String>> {
    let mut module: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let name = module.last()?.clone();
    if module[0] == "bin" || module.iter().any(|part| matches!(part.as_str(), "tests" | "testing")) {
        return None;
    }
    if name == "mod" || (module.len() == 1 && matches!(name.as_str(), "lib" | "main")) {
        module.pop();
    }
    Some(module)
}

fn imports_of(sources: &[Source]) -> Result<Vec<Import>> {
    let modules: BTreeSet<&[String]> = sources.iter().map(|source| source.module.as_slice()).collect();
    let mut imports = Vec::new();
    for source in sources {
        imports.extend(imports::find(source, &modules)?);
    }
    Ok(imports)
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// All files `*.rs` below a directory, in order; none if there is no such directory.
fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
            if path.is_dir() {
                // A package of its own, such as the fuzz targets, has a target directory of its own.
                if path.file_name().is_some_and(|name| name != "target") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
