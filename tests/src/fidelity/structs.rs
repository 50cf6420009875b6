//! Structures and arrays in the logs of strace and ktape.

use super::log::descriptor;

/// A structure, an array, or anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    /// `{flags=0, ...}`
    Members(Vec<(String, Tree)>),
    /// `[3, 4]` or `[3 4]`; of signals, `~[CHLD]` are all others.
    List(Vec<Tree>, bool),
    /// The beginning of a list: `[3, 4...]`.
    Begin(Vec<Tree>),
    Word(String),
}

impl Tree {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let inner = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
        if let Some(inner) = inner('{', '}') {
            let members = split(inner, false).into_iter();
            return Self::Members(
                members
                    .map(|member| match member.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Self::parse(value)),
                        None => (String::new(), Self::parse(member)),
                    })
                    .collect(),
            );
        }
        let (is_opposite, list) = text.strip_prefix('~').map_or((false, text), |rest| (true, rest));
        if let Some(inner) = list.strip_prefix('[').and_then(|rest| rest.strip_suffix("...]")) {
            return Self::Begin(split(inner, true).into_iter().map(Self::parse).collect());
        }
        if let Some(inner) = list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::List(split(inner, true).into_iter().map(Self::parse).collect(), is_opposite);
        }
        Self::Word(descriptor(text).map_or(text, |(number, _)| number).to_owned())
    }

    /// Nothing, as strace does not show it.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Word(word) => word == "NULL" || number(word) == Some(0),
            Self::Members(members) => members.iter().all(|(_, value)| value.is_nothing()),
            Self::List(list, is_opposite) => list.is_empty() && !is_opposite,
            Self::Begin(list) => list.is_empty(),
        }
    }
}

/// The parts between commas that are in no brackets; of a list also between spaces.
fn split(text: &str, at_spaces: bool) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            // `1<<CAP_KILL`
            b'<' if text[at..].starts_with("<<") || text[..at].ends_with('<') => {}
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            // Not of `->`.
            b'>' if !text[..at].ends_with('-') => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            b' ' if depth == 0 && at_spaces && !text[from..at].trim().is_empty() => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Whether both have the same structure or array. ktape may have members that strace does not show, as they are 0, and lack
/// some that strace shows.
pub(super) fn same(strace: &str, ktape: &str, same_word: &dyn Fn(&str, &str) -> bool) -> bool {
    let [strace, ktape] = [strace, ktape].map(Tree::parse);
    !matches!(ktape, Tree::Word(_)) && same_tree(&strace, &ktape, same_word)
}

fn same_tree(strace: &Tree, ktape: &Tree, same_word: &dyn Fn(&str, &str) -> bool) -> bool {
    match (strace, ktape) {
        (Tree::Members(theirs), Tree::Members(ours)) => {
            let mut shared = 0;
            // strace does not know all of it.
            let is_begin = theirs.iter().any(|(_, their)| *their == Tree::Word("...".to_owned()));
            let agree = ours.iter().all(|(name, our)| match theirs.iter().find(|(their, _)| their == name) {
                Some((_, their)) => {
                    shared += 1;
                    same_tree(their, our, same_word)
                }
                // What became ready follows the result; the C library's function is not shown by all versions.
                None => is_begin || our.is_nothing() || name == "revents" || name == "sa_restorer",
            });
            agree && shared > 0 || theirs.is_empty()
        }
        (Tree::List(theirs, false), Tree::Begin(ours)) => {
            theirs.len() > ours.len()
                && theirs.iter().zip(ours).all(|(their, our)| same_tree(their, our, same_word))
        }
        (Tree::List(theirs, not_theirs), Tree::List(ours, not_ours)) => {
            not_theirs == not_ours
                && theirs.len() == ours.len()
                && theirs.iter().zip(ours).all(|(their, our)| same_tree(their, our, same_word))
        }
        // `data={u32=3, u64=3}` and `data=3`.
        (Tree::Members(theirs), Tree::Word(_)) => {
            theirs.iter().any(|(name, their)| name == "u64" && same_tree(their, ktape, same_word))
        }
        // `UTIME_NOW` in place of a time.
        (Tree::Word(word), Tree::Members(ours)) => {
            ours.iter().any(|(name, our)| name == "tv_nsec" && *our == Tree::Word(word.clone()))
        }
        (Tree::Word(their), Tree::Word(our)) if their.starts_with("RT") => same_signal(their, our),
        (Tree::Word(their), Tree::Word(our)) => same_word(their, our),
        (Tree::Word(_) | Tree::Members(_), Tree::List(..) | Tree::Begin(_))
        | (Tree::List(..) | Tree::Begin(_), _) => false,
    }
}

/// Signals in a set: strace counts those of real time from the kernel's first one, 32.
fn same_signal(strace: &str, ktape: &str) -> bool {
    let theirs = match strace.strip_prefix("RT") {
        Some("MIN") => Some(32),
        Some("MAX") => Some(64),
        Some(rest) => rest.strip_prefix('_').and_then(|offset| offset.parse::<u32>().ok()).map(|n| 32 + n),
        None => None,
    };
    let ours = match ktape.strip_prefix("RT") {
        Some("MIN") => Some(34),
        Some("MAX") => Some(64),
        Some(rest) => {
            let above =
                rest.strip_prefix("MIN+").and_then(|offset| offset.parse::<u32>().ok()).map(|n| 34 + n);
            above.or_else(|| {
                rest.strip_prefix("MAX-").and_then(|offset| offset.parse::<u32>().ok()).map(|n| 64 - n)
            })
        }
        None => ktape.parse().ok(),
    };
    theirs.is_some() && theirs == ours
}

/// A number in decimal, hexadecimal or octal, as 64 bits, or a product of two.
pub(super) fn number(text: &str) -> Option<u64> {
    if let Some((first, second)) = text.split_once('*') {
        return Some(number(first)?.wrapping_mul(number(second)?));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse::<i64>().map(i64::cast_unsigned).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(strace: &str, ktape: &str) -> bool {
        same(strace, ktape, &|their, our| {
            their == our || number(their).is_some() && number(their) == number(our)
        })
    }

    #[test]
    fn members_that_both_have_are_compared() {
        assert!(is_same("{flags=O_RDONLY, mode=0}", "{flags=O_RDONLY, mode=0, resolve=0}"));
        assert!(is_same("{rlim_cur=8192*1024, rlim_max=1}", "{rlim_cur=8388608, rlim_max=1}"));
        assert!(!is_same("{flags=O_RDONLY}", "{flags=O_WRONLY}"));
        assert!(!is_same("{flags=O_RDONLY}", "{flags=O_RDONLY, mode=0644}"));
        assert!(!is_same("{a=1}", "{b=0}"));
        assert!(is_same("{it_value={tv_sec=1, tv_nsec=2}}", "{it_value={tv_sec=1, tv_nsec=2}}"));
        assert!(!is_same("{it_value={tv_sec=1, tv_nsec=2}}", "{it_value={tv_sec=1, tv_nsec=3}}"));
    }

    #[test]
    fn arrays_are_compared_by_element() {
        assert!(is_same("[{fd=3</a, b>, events=POLLIN}]", "[{fd=3, events=POLLIN, revents=POLLIN}]"));
        assert!(!is_same("[{fd=3, events=POLLIN}]", "[{fd=4, events=POLLIN, revents=0}]"));
        assert!(!is_same("[{fd=3, events=POLLIN}]", "[]"));
        assert!(is_same("[0, 1]", "[0 1]"));
        assert!(is_same(
            "{effective=1<<CAP_KILL|1<<CAP_X, permitted=0}",
            "{effective=1<<CAP_KILL|1<<CAP_X, permitted=0}"
        ));
        assert!(is_same("[3<TCP:[1.2.3.4:5->6.7.8.9:10]>, 4<pipe:[7]>]", "[3<x>, 4<y>]"));
        let event = "[{events=EPOLLIN, data={u32=7, u64=94000000000007}}]";
        assert!(is_same(event, "[{events=EPOLLIN, data=94000000000007}]"));
        assert!(!is_same(event, "[{events=EPOLLIN, data=7}]"));
        assert!(is_same(
            "[UTIME_OMIT, {tv_sec=1, tv_nsec=2}]",
            "[{tv_sec=0, tv_nsec=UTIME_OMIT}, {tv_sec=1, tv_nsec=2}]"
        ));
    }

    #[test]
    fn signals_are_compared_by_number() {
        assert!(is_same("~[RTMIN RT_1]", "~[32 33]"));
        assert!(is_same("[CHLD RT_2]", "[CHLD RTMIN]"));
        assert!(!is_same("[CHLD]", "~[CHLD]"));
        assert!(!is_same("[RTMIN]", "[RTMIN]"));
    }
}
