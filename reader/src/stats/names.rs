//! A user's short names for fields: a TOML file with lines such as `env = "host.label[env]"`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::keys::{Key, KeyError};
use crate::fields::lookup;

/// Why a file of short names is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// It is no TOML.
    #[error("{0}")]
    Toml(String),
    /// What a name stands for is not text.
    #[error("`{0}` must be text: {0} = \"container.label[{0}]\"")]
    NotText(String),
    /// There is a field of this name.
    #[error("`{0}` is the name of a field")]
    Field(String),
    /// What a name stands for is no field.
    #[error("`{0}`: {1}")]
    Key(String, KeyError),
}

/// The names in the text of a file, each with the field that it stands for.
///
/// # Errors
/// See [`NamesError`].
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, NamesError> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| NamesError::Toml(error.to_string().trim().to_owned()))?;
    let mut names = BTreeMap::new();
    for (name, field) in table {
        let Value::String(field) = field else { return Err(NamesError::NotText(name)) };
        if lookup(&name).is_ok() {
            return Err(NamesError::Field(name));
        }
        Key::parse(&field).map_err(|error| NamesError::Key(name.clone(), error))?;
        names.insert(name, field);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let names =
            parse("# labels\nenv = \"host.label[env]\"\n\"team\" = \"container.label[team]\"\n").unwrap();
        assert_eq!(names["env"], "host.label[env]");
        assert_eq!(names.len(), 2);
        let wrong = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(wrong("env = 5"), "`env` must be text: env = \"container.label[env]\"");
        assert_eq!(wrong("\"proc.name\" = \"proc.exe\""), "`proc.name` is the name of a field");
        assert!(wrong("env = \"host.lable[env]\"").starts_with("`env`: unknown field `host.lable`"));
        assert!(wrong("env = ").starts_with("TOML parse error at line 1"), "{}", wrong("env = "));
    }
}
