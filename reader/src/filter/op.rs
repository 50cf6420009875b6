//! Operators.

use crate::text::{glob, suggest};

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal to one of the literals (`=`, `==`, `in`, `intersects`).
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `contains`, and `bcontains` with the bytes in hexadecimal.
    Contains,
    /// `icontains`: ignores the case of ASCII letters.
    ContainsAnyCase,
    /// `startswith`, and `bstartswith` with the bytes in hexadecimal.
    StartsWith,
    /// `endswith`
    EndsWith,
    /// `glob`
    Glob,
    /// `has`: all of these flags are set.
    Has,
    /// `iglob`: ignores the case of ASCII letters.
    GlobAnyCase,
    /// `regex`: matches the whole value.
    Regex,
    /// `pmatch`: the literal is the path or a directory above it.
    PathPrefix,
    /// `exists`
    Exists,
}

/// All operators, as messages list them.
const NAMES: &[&str] = &[
    "=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "glob",
    "iglob",
    "regex",
    "pmatch",
    "in",
    "intersects",
    "has",
    "exists",
];

impl Op {
    /// The operator written as `text`, and whether its result is inverted (`!=`).
    pub(super) fn from_text(text: &str) -> Option<(Self, bool)> {
        Some(match text {
            "=" | "==" => (Self::Equal, false),
            "!=" => (Self::Equal, true),
            "in" | "intersects" => (Self::Equal, false),
            "<" => (Self::Less, false),
            "<=" => (Self::LessOrEqual, false),
            ">" => (Self::Greater, false),
            ">=" => (Self::GreaterOrEqual, false),
            "contains" | "bcontains" => (Self::Contains, false),
            "icontains" => (Self::ContainsAnyCase, false),
            "startswith" | "bstartswith" => (Self::StartsWith, false),
            "endswith" => (Self::EndsWith, false),
            "glob" => (Self::Glob, false),
            "has" => (Self::Has, false),
            "iglob" => (Self::GlobAnyCase, false),
            "regex" => (Self::Regex, false),
            "pmatch" => (Self::PathPrefix, false),
            "exists" => (Self::Exists, false),
            _ => return None,
        })
    }

    /// The message about a word that is no operator.
    pub(super) fn unknown(word: &str) -> String {
        let hint = suggest::did_you_mean(word, NAMES.iter().copied());
        format!("unknown operator `{word}`{hint}; the operators are {}", NAMES.join(" "))
    }

    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    pub(super) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Contains
                | Self::ContainsAnyCase
                | Self::StartsWith
                | Self::EndsWith
                | Self::Glob
                | Self::GlobAnyCase
                | Self::Regex
                | Self::PathPrefix
        )
    }

    /// Compares two numbers: by `=` if it is no operator for the order of numbers.
    pub(super) fn relates(self, left: i128, right: i128) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            _ => left == right,
        }
    }

    /// Compares a text with the one that is wanted. False for operators that need something else: a number, or a compiled
    /// pattern.
    pub(super) fn fits(self, text: &[u8], wanted: &[u8]) -> bool {
        match self {
            Self::Equal => text == wanted,
            Self::Contains => contains(text, wanted),
            Self::ContainsAnyCase => contains(&text.to_ascii_lowercase(), &wanted.to_ascii_lowercase()),
            Self::StartsWith => text.starts_with(wanted),
            Self::EndsWith => text.ends_with(wanted),
            Self::Glob => glob::matches(wanted, text),
            Self::GlobAnyCase => glob::matches(&wanted.to_ascii_lowercase(), &text.to_ascii_lowercase()),
            Self::PathPrefix => is_path_prefix(wanted, text),
            Self::Has => {
                let is_bar = |byte: &u8| *byte == b'|';
                wanted.split(is_bar).all(|word| text.split(is_bar).any(|has| has == word))
            }
            Self::Exists
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::Regex => false,
        }
    }

    /// Whether it takes a pattern, which is read with the expression, so that no field can stand in its place.
    pub(super) fn takes_pattern(self) -> bool {
        matches!(self, Self::Regex | Self::PathPrefix | Self::Has)
    }
}

/// What follows an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperandForm {
    /// Nothing.
    Nothing,
    /// A value, a list after a modifier, or another field.
    Value,
    /// The same, with the bytes in hexadecimal.
    Hex,
    /// A list.
    List,
}

impl OperandForm {
    /// What follows the operator written as `word`.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "exists" => Self::Nothing,
            "in" | "intersects" | "pmatch" => Self::List,
            "bcontains" | "bstartswith" => Self::Hex,
            _ => Self::Value,
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

/// Whether `prefix` is a path or a directory above it. Its components may be patterns, which match one component each.
/// Both start at the root, or neither does; repeated slashes count as one, and one at the end does not count.
fn is_path_prefix(prefix: &[u8], path: &[u8]) -> bool {
    fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
    let mut below = components(path);
    prefix.starts_with(b"/") == path.starts_with(b"/")
        && components(prefix).all(|pattern| below.next().is_some_and(|part| glob::matches(pattern, part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_an_operator() {
        for name in NAMES {
            assert!(Op::from_text(name).is_some(), "{name}");
        }
        assert_eq!(Op::from_text("matches"), None);
    }

    #[test]
    fn paths_have_prefixes_of_whole_components() {
        for (prefix, path, expected) in [
            ("/var", "/var", true),
            ("/var", "/var/log/a", true),
            ("/var/", "/var/log/a", true),
            ("/var", "/variable", false),
            ("/var/log", "/var", false),
            ("/var//log", "/var/log/a", true),
            ("/var/log", "//var///log/", true),
            ("/", "/var", true),
            ("/", "/", true),
            ("/", "var", false),
            ("var", "/var", false),
            ("var", "var/log", true),
            ("/var/*", "/var/run/file.txt", true),
            ("/var/*", "/var", false),
            ("/var/*/*.txt", "/var/run/a.txt", true),
            ("/var/*/*.txt", "/var/run/b/a.txt", false),
            ("/*", "/", false),
            ("/v?r", "/var/x", true),
            ("/", "10.0.0.5:443", false),
        ] {
            assert_eq!(is_path_prefix(prefix.as_bytes(), path.as_bytes()), expected, "{prefix} {path}");
        }
    }
}
