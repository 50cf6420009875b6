//! Checks the architecture: dependencies between crates, imports between modules, import cycles, lengths of files; and that
//! no build output is in the repository.

mod cycles;
mod imports;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ktape_tests::run;

use self::imports::Import;
use self::rules::{CrateRules, Rules};

/// Maximum number of lines of a source file, unless `xtask/arrows.toml` lists it as an exception.
const MAX_LINES: usize = 500;
/// Maximum size of a file in the repository, in bytes. The largest ones are the eBPF objects.
const MAX_BYTES: u64 = 5 << 18;

/// Checks the workspace against `xtask/arrows.toml` and prints all problems.
///
/// # Errors
/// If there is a problem, or a file cannot be read.
pub fn check(root: &Path) -> Result<()> {
    let file = root.join("xtask/arrows.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let rules = Rules::parse(&text).with_context(|| format!("cannot read {}", file.display()))?;
    let mut problems = check_dependencies(&rules, &dependencies(root)?);
    for (name, rules) in &rules.crates {
        for source_root in source_roots(&root.join(&rules.path))? {
            let sources = sources(root, &source_root)?;
            let imports = imports_of(&sources)?;
            // Additional programs in `src/bin` have no layers; only cycles are checked there.
            if source_root == root.join(&rules.path).join("src") {
                problems.extend(check_imports(name, rules, &sources, &imports));
            }
            problems.extend(cycles::find(&imports));
        }
    }
    problems.extend(check_lengths(root, &rules)?);
    problems.extend(too_large(root, &tracked(root)?));
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} violations: see ARCHITECTURE.md and xtask/arrows.toml", problems.len());
    }
    Ok(())
}

/// A source file of a crate.
struct SourceFile {
    /// Path relative to the repository.
    shown: String,
    /// Path of its module within the crate; empty for the crate's root.
    module: Vec<String>,
    text: String,
}

/// For each package of the workspace, the other packages of the workspace that it depends on.
fn dependencies(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut metadata = run::cargo(root);
    let text = run::output(metadata.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cargo metadata printed invalid JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let own: BTreeSet<String> = packages.iter().map(name).collect();
    let depends = |package: &serde_json::Value| {
        list(&package["dependencies"]).iter().map(name).filter(|n| own.contains(n)).collect()
    };
    Ok(packages.iter().map(|package| (name(package), depends(package))).collect())
}

/// Finds crates that are not listed, and dependencies that are not allowed.
fn check_dependencies(rules: &Rules, dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
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

/// Finds imports between top-level modules of a crate that are not allowed.
fn check_imports(name: &str, rules: &CrateRules, sources: &[SourceFile], imports: &[Import]) -> Vec<String> {
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

/// Finds source files that are too long, and exceptions that are no longer needed.
fn check_lengths(root: &Path, rules: &Rules) -> Result<Vec<String>> {
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
        if *count > MAX_LINES && !rules.long.contains_key(file) {
            problems.push(format!(
                "{file}: {count} lines, more than the maximum of {MAX_LINES}: split it by subject"
            ));
        }
    }
    for file in rules.long.keys().filter(|file| lines.get(*file).is_none_or(|count| *count <= MAX_LINES)) {
        problems.push(format!("xtask/arrows.toml: {file} is no longer too long: remove the exception"));
    }
    Ok(problems)
}

/// The files in git's index.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let text = run::output(Command::new("git").args(["ls-files", "-z"]).current_dir(root))?;
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Finds files that are too large to have been written by hand: what a build has left where git does not ignore it.
fn too_large(root: &Path, tracked: &[String]) -> Vec<String> {
    let size = |file: &String| fs::symlink_metadata(root.join(file)).map_or(0, |metadata| metadata.len());
    let large = tracked.iter().map(|file| (file, size(file))).filter(|(_, size)| *size > MAX_BYTES);
    large
        .map(|(file, size)| {
            format!(
                "{file}: {size} bytes, more than the maximum of {MAX_BYTES}: remove build output from git"
            )
        })
        .collect()
}

/// The directories of a package that contain a crate root: `src`, and those in `src/bin`.
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

/// The source files of a crate without its tests.
fn sources(root: &Path, source_root: &Path) -> Result<Vec<SourceFile>> {
    let mut sources = Vec::new();
    for file in rust_files(source_root)? {
        let path = file.strip_prefix(source_root).unwrap_or(&file);
        let Some(module) = module_of(path) else { continue };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        sources.push(SourceFile { shown: shown(root, &file), module, text });
    }
    Ok(sources)
}

/// Module path of a file, from its path below the crate's root; `None` for tests and for additional programs.
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

fn imports_of(sources: &[SourceFile]) -> Result<Vec<Import>> {
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

/// All `*.rs` files below a directory, sorted; none if the directory does not exist.
fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
            if path.is_dir() {
                // Packages outside the workspace, such as the fuzz targets, have their own target directory.
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
