//! All views that there are: those that are built in, and those of the user, which come before them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::text::suggest;

use super::file::{self, ViewError};
use super::{Enter, Origin, View, built_in};

/// A view, or what is wrong with its file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of the view.
    pub name: String,
    /// The view.
    pub view: Result<View, ViewError>,
}

/// Views by name.
#[derive(Clone, Debug)]
pub struct Views {
    entries: Vec<Entry>,
}

impl Views {
    /// The views that are part of ktape.
    pub fn built_in() -> Self {
        let entries = built_in::FILES.iter().map(|(name, text)| {
            let view = file::parse(name, (*text).to_owned(), Origin::BuiltIn).map_err(|(key, reason)| {
                ViewError { file: format!("{name}.toml"), key: key.map(str::to_owned), reason }
            });
            Entry { name: (*name).to_owned(), view }
        });
        Self { entries: entries.collect() }
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

    /// Adds a file, in place of a view of the same name.
    pub fn add(&mut self, path: &Path) {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entry = Entry { name, view: View::open(path) };
        match self.entries.iter_mut().find(|known| known.name == entry.name) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    /// All of them: first those that are built in.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The view with this name.
    pub fn get(&self, name: &str) -> Option<&Result<View, ViewError>> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.view)
    }

    /// ` (did you mean a, b?)` for a word that is no view; empty if none is similar.
    pub fn hint(&self, word: &str) -> String {
        let names = || self.entries.iter().map(|entry| entry.name.as_str());
        let word = word.to_ascii_lowercase();
        match suggest::did_you_mean(&word, names()) {
            // A part of a name: `limits`, `lifecycle`.
            hint if hint.is_empty() && word.len() > 2 => {
                let parts: Vec<&str> = names().filter(|name| name.contains(&word)).collect();
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
        if self.get(opened).is_some() {
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
