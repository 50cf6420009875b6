//! Suggestions for misspelled words.

/// How many suggestions there are at most.
const MOST: usize = 3;
/// Words longer than this, in bytes, are not misspelled names.
const LONGEST: usize = 64;

/// ` (did you mean a, b?)`, or nothing where no candidate is close.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    in_brackets(&closest(word, candidates))
}

/// ` (did you mean a, b?)`, or nothing for an empty list.
pub fn in_brackets(closest: &[impl AsRef<str>]) -> String {
    let closest: Vec<&str> = closest.iter().map(AsRef::as_ref).collect();
    if closest.is_empty() { String::new() } else { format!(" (did you mean {}?)", closest.join(", ")) }
}

/// The candidates closest to a word, whatever the case: those within a third of its letters. A single letter is no
/// misspelled word.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = word.to_ascii_lowercase();
    let most = (word.len() / 3).clamp(1, 3);
    let mut scored: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(score, _)| *score <= most && *score < wanted.len())
        .collect();
    scored.sort_unstable();
    scored.dedup();
    let best = scored.first().map_or(0, |(score, _)| *score);
    scored.into_iter().take_while(|(score, _)| *score == best).take(MOST).map(|(_, name)| name).collect()
}

/// How many letters have to be changed, added, removed or swapped with their neighbour.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > LONGEST {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != y);
            let mut least = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("raed", "read", 1),
            ("openat", "opennat", 1),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        assert_eq!(distance(&"x".repeat(65), "x"), usize::MAX);
    }

    #[test]
    fn only_close_words_are_suggested() {
        let words = ["read", "write", "ENOENT", "EBADF"];
        assert_eq!(closest("raed", words), ["read"]);
        assert_eq!(closest("enoentt", words), ["ENOENT"]);
        assert!(closest("zzzz", words).is_empty());
        assert_eq!(did_you_mean("writ", words), " (did you mean write?)");
        assert_eq!(did_you_mean("q", ["R", "S"]), "");
    }
}
