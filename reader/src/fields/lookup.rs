//! Finds fields by name.

use super::decl::Key;
use super::{Field, FieldArg, FieldDecl, FieldType, Getter, registry};
use crate::text::suggest;

/// Why a name is not a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no field with this name.
    #[error("unknown field `{name}`{}; `ktape fields` lists all fields", suggest::in_brackets(.closest))]
    Unknown {
        /// The unknown name, without brackets.
        name: String,
        /// The most similar names, at most three.
        closest: Vec<String>,
    },
    /// The argument is missing, wrong or not allowed.
    #[error("`{name}` {reason}")]
    Argument {
        /// The field's name, without brackets.
        name: String,
        /// The reason; completes a sentence that begins with the name.
        reason: &'static str,
    },
}

/// The field that `text` names, with the type of its values.
///
/// # Errors
/// If there is no field with this name, or its argument is missing or wrong.
pub fn lookup(text: &str) -> Result<(Field, FieldType), FieldError> {
    let (name, key) = match text.split_once('[') {
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(key) => (name, Some(key)),
            None => {
                let reason = "has no closing bracket after its argument";
                return Err(FieldError::Argument { name: name.to_owned(), reason });
            }
        },
        None => (text, None),
    };
    if key.is_none()
        && let Some((decl, arg)) = named_argument(name)
    {
        return Ok((Field::new(decl, Key::Name(arg.into())), decl.ty));
    }
    let Some(decl) = registry().iter().find(|decl| decl.name == name) else {
        return Err(FieldError::Unknown { name: name.to_owned(), closest: closest(name) });
    };
    let wrong = |reason| Err(FieldError::Argument { name: name.to_owned(), reason });
    let key = match (decl.arg, key) {
        (FieldArg::None, None) => Key::None,
        (FieldArg::None, Some(_)) => return wrong("takes no argument in brackets"),
        (FieldArg::Key, Some(key)) if !key.is_empty() => {
            let is_attribute = matches!(decl.getter, Getter::Attribute);
            Key::Name(if is_attribute { format!("{name}[{key}]").into() } else { key.into() })
        }
        (FieldArg::Key, _) => return wrong("needs a key in brackets"),
        (FieldArg::Generation, None) => Key::None,
        (FieldArg::Generation, Some(key)) => match key.parse() {
            Ok(generation @ 0..=64) => Key::Position(generation),
            _ => return wrong("needs a number from 0 to 64 in brackets: 0 is the process, 1 its parent"),
        },
        (FieldArg::IndexOrName, key) => match key.and_then(|k| k.parse().ok()) {
            Some(at @ 0..=5) => Key::Position(at),
            _ => return wrong("needs an argument's name or position: evt.arg.fd, evt.arg[0] to evt.arg[5]"),
        },
    };
    Ok((Field::new(decl, key), decl.ty))
}

/// The field and the name in `FIELD.NAME`, if the field takes names.
fn named_argument(text: &str) -> Option<(&'static FieldDecl, &str)> {
    let mut named = registry().iter().filter(|decl| decl.arg == FieldArg::IndexOrName);
    named.find_map(|decl| {
        let arg = text.strip_prefix(decl.name)?.strip_prefix('.')?;
        (!arg.is_empty()).then_some((decl, arg))
    })
}

/// The most similar names, at most three.
fn closest(name: &str) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = registry()
        .iter()
        .map(|decl| {
            let same_end = decl.name.rsplit('.').next() == name.rsplit('.').next();
            (suggest::distance(name, decl.name).saturating_sub(usize::from(same_end) * 3), decl.name)
        })
        .filter(|(score, candidate)| *score <= 3.max(candidate.len() / 4))
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}
