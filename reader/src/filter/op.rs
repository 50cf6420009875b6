//! Operators.

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal to one of the literals (`=`, `==`, `in`).
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `contains`
    Contains,
    /// `icontains`: ignores the case of ASCII letters.
    ContainsAnyCase,
    /// `startswith`
    StartsWith,
    /// `endswith`
    EndsWith,
    /// `glob`
    Glob,
    /// `has`: all of these flags are set.
    Has,
    /// `exists`
    Exists,
}

impl Op {
    /// The operator written as `text`, and whether its result is inverted (`!=`).
    pub(super) fn from_text(text: &str) -> Option<(Self, bool)> {
        Some(match text {
            "=" | "==" => (Self::Equal, false),
            "!=" => (Self::Equal, true),
            "in" => (Self::Equal, false),
            "<" => (Self::Less, false),
            "<=" => (Self::LessOrEqual, false),
            ">" => (Self::Greater, false),
            ">=" => (Self::GreaterOrEqual, false),
            "contains" => (Self::Contains, false),
            "icontains" => (Self::ContainsAnyCase, false),
            "startswith" => (Self::StartsWith, false),
            "endswith" => (Self::EndsWith, false),
            "glob" => (Self::Glob, false),
            "has" => (Self::Has, false),
            "exists" => (Self::Exists, false),
            _ => return None,
        })
    }

    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    pub(super) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Contains | Self::ContainsAnyCase | Self::StartsWith | Self::EndsWith | Self::Glob
        )
    }
}
