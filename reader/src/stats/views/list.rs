//! All views that there are: those that are built in, and those of the user, which come before them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::text::suggest;

use super::file::{self, Names, ViewError};
use super::{Enter, Origin, View, built_in};

/// Where a view is to be read from.
#[derive(Clone, Debug)]
enum Source {
    BuiltIn(&'static str),
    File(PathBuf),
}

/// Views by name. Each is read when it is needed.
#[derive(Clone, Debug)]
pub struct Views {
    sources: Vec<(String, Source)>,
    names: Names,
}

impl Views {
    /// The views that are part of ktape.
    pub fn built_in() -> Self {
        let sources = built_in::FILES.iter().map(|(name, text)| ((*name).to_owned(), Source::BuiltIn(text)));
        Self { sources: sources.collect(), names: Names::new() }
    }

    /// Those, and the files `*.toml` in these directories, if they exist. Of several with one name, the last one counts.
    pub fn with_directories(directories: &[PathBuf]) -> Self {
        let mut views = Self::built_in();
        for directory in directories {
            let Ok(files) = fs::read_dir(directory) else { continue };
            let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
            files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            files.sort();
            files.iter().for_each(|path| views.add(path));
        }
        views
    }

    /// The same views, whose files may have these short names for fields.
    #[must_use]
    pub fn with_names(self, names: BTreeMap<String, String>) -> Self {
        Self { names, ..self }
    }

    /// Adds a file, in place of a view of the same name.
    pub fn add(&mut self, path: &Path) {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let source = Source::File(path.to_path_buf());
        match self.sources.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = source,
            None => self.sources.push((name, source)),
        }
    }

    /// The names of all of them: first those that are built in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(name, _)| name.as_str())
    }

    /// All of them, in the order of [`Self::names`]; an error for each file that is not valid.
    pub fn all(&self) -> Vec<Result<View, ViewError>> {
        self.names().filter_map(|name| self.get(name)).collect()
    }

    /// Whether there is one of this name, or a file that should be one.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The view with this name; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<Result<View, ViewError>> {
        let (_, source) = self.sources.iter().find(|(known, _)| known == name)?;
        Some(match source {
            Source::File(path) => View::open(path, &self.names),
            Source::BuiltIn(text) => {
                let parsed = file::parse(name, (*text).to_owned(), Origin::BuiltIn, &Names::new());
                parsed.map_err(|(key, reason)| ViewError {
                    file: format!("{name}.toml"),
                    key: key.map(str::to_owned),
                    reason,
                })
            }
        })
    }

    /// ` (did you mean a, b?)` for a word that is no view; empty if none is similar.
    pub fn hint(&self, word: &str) -> String {
        let word = word.to_ascii_lowercase();
        match suggest::did_you_mean(&word, self.names()) {
            // A part of a name: `limits`, `lifecycle`.
            hint if hint.is_empty() && word.len() > 2 => {
                let parts: Vec<&str> = self.names().filter(|name| name.contains(&word)).collect();
                suggest::in_brackets(&parts)
            }
            hint => hint,
        }
    }

    /// Checks that the view that `view` opens exists.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn check_enter(&self, view: &View) -> Result<(), ViewError> {
        let Some(Enter { view: opened, .. }) = &view.enter else { return Ok(()) };
        if self.has(opened) {
            return Ok(());
        }
        Err(ViewError {
            file: match &view.origin {
                Origin::BuiltIn => format!("{}.toml", view.name),
                Origin::File(path) => path.display().to_string(),
            },
            key: Some("enter".to_owned()),
            reason: format!("no view is named `{opened}`{}", self.hint(opened)),
        })
    }
}
