//! Regular expressions, with limits on what one may cost.

use std::str;

use regex::{Regex, RegexBuilder};

/// Most memory that a compiled pattern may take up, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// Most memory that the search for a pattern may take up in addition, in bytes.
const MAX_CACHE: usize = 1 << 19;
/// Deepest nesting of groups.
const MAX_DEPTH: u32 = 100;

/// A compiled regular expression. As with Falco's `regex`, it has to match the whole value, and each byte of a value that
/// is not UTF-8 counts as U+FFFD, so that `.` matches it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A message, if it is no regular expression, or one that takes up too much memory.
    pub(super) fn new(pattern: &[u8]) -> Result<Self, String> {
        let shown = String::from_utf8_lossy(pattern);
        let text = str::from_utf8(pattern).map_err(|_| format!("the pattern `{shown}` is not UTF-8"))?;
        let failed = |error: regex::Error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("`{shown}` takes up more than {} KiB when it is compiled", MAX_SIZE >> 10)
            }
            other => format!("`{shown}` is not a regular expression: {}", reason(&other)),
        };
        // By itself first, so that no bracket in it can close the group around it. The line break ends a comment.
        build(text).map_err(failed)?;
        let whole = |end: &str| build(&format!(r"\A(?:{text}{end})\z"));
        let regex = whole("").or_else(|_| whole("\n")).map_err(failed)?;
        Ok(Self { text: text.into(), regex })
    }

    /// Whether it matches all of a value.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.regex.is_match(&String::from_utf8_lossy(value))
    }
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_SIZE).dfa_size_limit(MAX_CACHE).nest_limit(MAX_DEPTH).build()
}

/// The last line of an error, which has the reason; those before it point into the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &[u8]) -> bool {
        Pattern::new(pattern.as_bytes()).unwrap_or_else(|e| panic!("{e}")).matches(value)
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        for (pattern, value, expected) in [
            ("nginx", "nginx", true),
            ("nginx", "nginx2", false),
            ("ngin", "nginx", false),
            ("a|ab", "ab", true),
            ("[a-z]*/proc/[0-9]+/cmdline", "/proc/12/cmdline", true),
            ("/proc/[[:digit:]]+", "/proc/12", true),
            ("(?i)NGINX", "nginx", true),
            ("(?x) ng inx # a comment", "nginx", true),
            (".*", "a\nb", false),
            ("(?s).*", "a\nb", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, value.as_bytes()), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_is_a_character() {
        assert!(matches("/tmp/bad.", b"/tmp/bad\xff"));
        assert!(matches("/tmp/bad\u{fffd}", b"/tmp/bad\xff"));
        assert!(!matches("/tmp/bad[a-z]", b"/tmp/bad\xff"));
        assert!(matches("/tmp/.", "/tmp/ü".as_bytes()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let error = |pattern: &[u8]| Pattern::new(pattern).unwrap_err();
        assert_eq!(error(b"a(b"), "`a(b` is not a regular expression: unclosed group");
        assert_eq!(error(b"a)|(b"), "`a)|(b` is not a regular expression: unopened group");
        assert_eq!(
            error(br"(a)\1"),
            r"`(a)\1` is not a regular expression: backreferences are not supported"
        );
        assert_eq!(error(b"\xff"), "the pattern `\u{fffd}` is not UTF-8");
        assert_eq!(
            error(br"(\w{50}){50}"),
            r"`(\w{50}){50}` takes up more than 1024 KiB when it is compiled"
        );
        assert!(error("(".repeat(200).as_bytes()).contains("is not a regular expression"));
        assert!(error(format!("{}{}", "(".repeat(200), ")".repeat(200)).as_bytes()).contains("nest"));
    }
}
