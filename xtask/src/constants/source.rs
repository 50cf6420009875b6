//! Values of names from the sources of `linux-raw-sys`: the output of bindgen, one module per subject and directory per
//! architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A name's value on each architecture; `None` where the name does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub x86_64: Option<i64>,
    pub aarch64: Option<i64>,
}

impl Value {
    /// The same value everywhere.
    pub fn common(value: i64) -> Self {
        Self { x86_64: Some(value), aarch64: Some(value) }
    }

    /// The value to sort by.
    pub fn first(self) -> i64 {
        self.x86_64.or(self.aarch64).unwrap_or_default()
    }

    /// Applies `change` to each value.
    pub fn map(self, change: impl Fn(i64) -> i64) -> Self {
        Self { x86_64: self.x86_64.map(&change), aarch64: self.aarch64.map(&change) }
    }
}

/// All values of the crate.
#[derive(Default)]
pub struct Values {
    named: BTreeMap<String, Value>,
    modules: BTreeMap<String, BTreeSet<String>>,
}

impl Values {
    /// Reads the directory `src` of the crate.
    pub fn read(source: &Path) -> Result<Self> {
        let mut values = Self::default();
        for arch in ["x86_64", "aarch64"] {
            let directory = source.join(arch);
            let reading = || format!("cannot read {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(reading)? {
                let file = entry.with_context(reading)?.path();
                let text =
                    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                let module = file.file_stem().unwrap_or_default().to_string_lossy();
                values.add(arch, &module, &text).with_context(|| file.display().to_string())?;
            }
        }
        Ok(values)
    }

    /// Adds the names of a module.
    pub fn add(&mut self, arch: &str, module: &str, text: &str) -> Result<()> {
        let names = self.modules.entry(module.to_owned()).or_default();
        for (name, value) in constants(text) {
            let known = self.named.entry(name.to_owned()).or_default();
            let known = if arch == "x86_64" { &mut known.x86_64 } else { &mut known.aarch64 };
            if known.is_some_and(|known| known != value) {
                bail!("{name} has two values");
            }
            *known = Some(value);
            names.insert(name.to_owned());
        }
        Ok(())
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.named.get(name).copied()
    }

    /// All names, or those of a module.
    pub fn names<'a>(&'a self, module: Option<&str>) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match module {
            None => Box::new(self.named.keys().map(String::as_str)),
            Some(module) => Box::new(self.modules.get(module).into_iter().flatten().map(String::as_str)),
        }
    }
}

/// Numbers: `pub const NAME: u32 = 1;`, members of an enumeration: `NAME = 1,`, and second names of a member:
/// `pub const NAME: E = E::OTHER;`.
fn constants(text: &str) -> Vec<(&str, i64)> {
    let mut found = Vec::new();
    let mut members: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut second_names = Vec::new();
    let mut enumeration = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            enumeration = rest.split(' ').next();
        } else if line == "}" {
            enumeration = None;
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let Some((_, value)) = rest.split_once(" = ") else { continue };
            let value = value.trim_end_matches(';');
            if let Ok(value) = value.parse() {
                found.push((name, value));
            } else if let Some(member) = value.split_once("::") {
                second_names.push((name, member));
            }
        } else if let (Some(enumeration), Some((name, value))) = (enumeration, line.split_once(" = "))
            && let Ok(value) = value.trim_end_matches(',').parse()
        {
            members.insert((enumeration, name), value);
        }
    }
    let second_names = second_names.iter().filter_map(|(name, member)| Some((*name, *members.get(member)?)));
    found.extend(second_names);
    found.extend(members.iter().map(|((_, name), value)| (*name, *value)));
    found
}
