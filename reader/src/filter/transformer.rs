//! Functions of a value: `tolower(proc.name)`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::fields::{FieldType, Value};

/// As with Falco's `b64()`, the padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A function of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transformer {
    /// `tolower()`, of ASCII letters.
    Lower,
    /// `toupper()`, of ASCII letters.
    Upper,
    /// `b64()`: the bytes that are encoded; missing if the text is not Base64.
    Base64,
    /// `basename()`: what follows the last `/`, which may be nothing.
    BaseName,
    /// `len()`: how many bytes it has.
    Length,
}

impl Transformer {
    /// The function with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "tolower" => Some(Self::Lower),
            "toupper" => Some(Self::Upper),
            "b64" => Some(Self::Base64),
            "basename" => Some(Self::BaseName),
            "len" => Some(Self::Length),
            _ => None,
        }
    }

    /// The type of its values.
    pub(super) fn result(self) -> FieldType {
        match self {
            Self::Lower | Self::Upper | Self::Base64 | Self::BaseName => FieldType::Text,
            Self::Length => FieldType::Unsigned,
        }
    }

    /// Calls `found` with its value for a text, if it has one, and returns what that returns.
    pub(super) fn with(self, text: &[u8], found: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match self {
            Self::Lower => found(Value::Bytes(&text.to_ascii_lowercase())),
            Self::Upper => found(Value::Bytes(&text.to_ascii_uppercase())),
            Self::Base64 => BASE64.decode(text).is_ok_and(|bytes| found(Value::Bytes(&bytes))),
            Self::BaseName => {
                let start = text.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                found(Value::Bytes(&text[start..]))
            }
            Self::Length => found(Value::Int(text.len() as i128)),
        }
    }

    /// Why none of its values is `text`, if none can be.
    pub(super) fn why_never(self, text: &[u8]) -> Option<String> {
        let shown = String::from_utf8_lossy(text);
        match self {
            Self::Lower if text.iter().any(u8::is_ascii_uppercase) => Some(format!(
                "`{shown}` has capital letters, and tolower() has none: write {}",
                shown.to_ascii_lowercase()
            )),
            Self::Upper if text.iter().any(u8::is_ascii_lowercase) => Some(format!(
                "`{shown}` has small letters, and toupper() has none: write {}",
                shown.to_ascii_uppercase()
            )),
            Self::BaseName if text.contains(&b'/') => {
                Some(format!("`{shown}` has a `/`, and basename() is what follows the last one"))
            }
            Self::Lower | Self::Upper | Self::BaseName | Self::Base64 | Self::Length => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as text; `-` if it is missing.
    fn value(transformer: Transformer, text: &[u8]) -> String {
        let mut shown = "-".to_owned();
        transformer.with(text, &mut |value| {
            shown = value.to_string();
            true
        });
        shown
    }

    #[test]
    fn values_of_transformers() {
        for (transformer, text, expected) in [
            (Transformer::Lower, "NginX Ü", "nginx Ü"),
            (Transformer::Upper, "nginx ü", "NGINX ü"),
            (Transformer::BaseName, "/usr/bin/cat", "cat"),
            (Transformer::BaseName, "cat", "cat"),
            (Transformer::BaseName, "/usr/bin/", ""),
            (Transformer::Length, "", "0"),
            (Transformer::Length, "aü", "3"),
            (Transformer::Base64, "Y2F0", "cat"),
            (Transformer::Base64, "Y2E=", "ca"),
            (Transformer::Base64, "Y2E", "ca"),
            (Transformer::Base64, "", ""),
            (Transformer::Base64, "Y", "-"),
            (Transformer::Base64, "Y2F0!", "-"),
            (Transformer::Base64, "Y2F0 ", "-"),
        ] {
            assert_eq!(value(transformer, text.as_bytes()), expected, "{transformer:?} {text}");
        }
    }
}
