//! What a capture may take of its disk, and when one file ends and the next begins.

use std::time::Duration;

use ktape_reader::text::units::{self, duration, size};

/// The smallest file worth ending, bytes: a header and an index take some 40 KiB.
const SMALLEST: u64 = 256 << 10;
/// The shortest time of a file.
const SHORTEST: Duration = Duration::from_secs(1);
/// Without `--min-free`: this share of the file system stays free ...
const FREE_SHARE: f64 = 0.05;
/// ... but no more than this, bytes.
const FREE_MOST: u64 = 1 << 30;

/// How much of a file system has to stay free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinFree {
    /// Bytes.
    Bytes(u64),
    /// A share of the whole, at most so many bytes.
    Share(f64, u64),
}

impl MinFree {
    /// In bytes, of a file system of this size.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share, most) => ((whole as f64 * share) as u64).min(most),
        }
    }
}

/// All limits; `None` is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A file ends before it becomes larger than this, bytes.
    pub rotate_bytes: Option<u64>,
    /// A file ends after this time.
    pub rotate_every: Option<Duration>,
    /// So many files are kept, the one that is written included.
    pub keep_files: Option<u64>,
    /// Files that ended longer ago are deleted.
    pub keep_age: Option<Duration>,
    /// All files together, or the only one, never take more than this, bytes.
    pub max_bytes: Option<u64>,
    /// What stays free.
    pub min_free: MinFree,
    /// Whether what is written is brought to the disk at once.
    pub sync: bool,
}

/// What the command line says of them.
#[derive(Clone, Debug, Default)]
pub struct Words<'a> {
    /// `--rotate`, each a size or a time.
    pub rotate: &'a [String],
    /// `--keep`, each a number of files, a time or a size.
    pub keep: &'a [String],
    /// `--max-size`.
    pub max_size: Option<&'a str>,
    /// `--min-free`, a size or a share.
    pub min_free: Option<&'a str>,
    /// `--sync`.
    pub sync: Option<bool>,
}

impl Limits {
    /// From the command line.
    ///
    /// # Errors
    /// What cannot be understood, or makes no sense together, in words for the user.
    pub fn parse(words: &Words<'_>) -> Result<Self, String> {
        let mut limits = Self {
            rotate_bytes: None,
            rotate_every: None,
            keep_files: None,
            keep_age: None,
            max_bytes: None,
            min_free: MinFree::Share(FREE_SHARE, FREE_MOST),
            sync: false,
        };
        for text in words.rotate {
            if let Ok(ns) = duration(text) {
                least(&mut limits.rotate_every, Duration::from_nanos(ns));
            } else if let Ok(bytes) = size(text) {
                least(&mut limits.rotate_bytes, bytes);
            } else {
                return Err(format!("--rotate is a size or a time, such as 256MiB or 10m, not `{text}`"));
            }
        }
        if limits.rotate_bytes.is_some_and(|bytes| bytes < SMALLEST) {
            return Err(format!("--rotate is at least {}", units::size_text(SMALLEST)));
        }
        if limits.rotate_every.is_some_and(|time| time < SHORTEST) {
            return Err("--rotate is at least 1s".to_owned());
        }
        for text in words.keep {
            if let Ok(files) = text.parse::<u64>() {
                least(&mut limits.keep_files, files);
            } else if let Ok(ns) = duration(text) {
                least(&mut limits.keep_age, Duration::from_nanos(ns));
            } else if let Ok(bytes) = size(text) {
                least(&mut limits.max_bytes, bytes);
            } else {
                return Err(format!(
                    "--keep is a number of files, a time or a size, such as 20, 7d or 10GiB, not `{text}`"
                ));
            }
        }
        if limits.keep_files == Some(0) {
            return Err("--keep is at least 1: the file that is written counts".to_owned());
        }
        if let Some(text) = words.max_size {
            least(&mut limits.max_bytes, size(text).map_err(|error| error.to_string())?);
        }
        if let Some(text) = words.min_free {
            limits.min_free = min_free(text)?;
        }
        if let (Some(max), Some(rotate)) = (limits.max_bytes, limits.rotate_bytes)
            && rotate > max / 2
        {
            return Err(
                "--rotate is at most half of --max-size, so that something is left when the oldest file goes"
                    .to_owned(),
            );
        }
        let smallest = if limits.is_series() { 4 * SMALLEST } else { SMALLEST };
        if limits.max_bytes.is_some_and(|max| max < smallest) {
            return Err(format!("--max-size is at least {}", units::size_text(smallest)));
        }
        if !words.keep.is_empty() && !limits.is_series() {
            return Err("--keep is for a series of files: say when one ends, with --rotate".to_owned());
        }
        limits.sync = words.sync.unwrap_or_else(|| limits.is_series());
        Ok(limits)
    }

    /// Whether there is more than one file.
    pub fn is_series(&self) -> bool {
        self.rotate_bytes.is_some() || self.rotate_every.is_some()
    }
}

fn least<T: Ord + Copy>(limit: &mut Option<T>, value: T) {
    *limit = Some(limit.map_or(value, |old| old.min(value)));
}

fn min_free(text: &str) -> Result<MinFree, String> {
    if let Some(share) = text.strip_suffix('%') {
        return match share.trim().parse::<f64>() {
            Ok(share) if (0.0..100.0).contains(&share) => Ok(MinFree::Share(share / 100.0, u64::MAX)),
            _ => Err(format!("--min-free is a size or a share, such as 1GiB or 5%, not `{text}`")),
        };
    }
    size(text).map(MinFree::Bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        rotate: &[&str],
        keep: &[&str],
        max: Option<&str>,
        free: Option<&str>,
    ) -> Result<Limits, String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (rotate, keep) = (owned(rotate), owned(keep));
        Limits::parse(&Words { rotate: &rotate, keep: &keep, max_size: max, min_free: free, sync: None })
    }

    #[test]
    fn a_size_a_time_and_a_number_are_told_apart() {
        let limits = parse(&["256MiB", "10m"], &["20", "7d", "10GiB"], Some("4GiB"), Some("5%")).unwrap();
        assert_eq!(limits.rotate_bytes, Some(256 << 20));
        assert_eq!(limits.rotate_every, Some(Duration::from_secs(600)));
        assert_eq!((limits.keep_files, limits.keep_age), (Some(20), Some(Duration::from_secs(7 * 86_400))));
        assert_eq!(limits.max_bytes, Some(4 << 30), "the smaller of both");
        assert_eq!(limits.min_free, MinFree::Share(0.05, u64::MAX));
        assert!(limits.is_series() && limits.sync);
        let single = parse(&[], &[], Some("1MiB"), Some("0")).unwrap();
        assert!(!single.is_series() && !single.sync);
        assert_eq!(single.min_free.of(1 << 40), 0);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let error = |rotate: &[&str], keep: &[&str], max, free| parse(rotate, keep, max, free).unwrap_err();
        assert!(error(&["soon"], &[], None, None).contains("`soon`"));
        assert!(error(&["1KiB"], &[], None, None).contains("at least 256.0 KiB"));
        assert!(error(&["10ms"], &[], None, None).contains("at least 1s"));
        assert!(error(&[], &["3"], None, None).contains("--rotate"));
        assert!(error(&["1m"], &["0"], None, None).contains("at least 1"));
        assert!(error(&["3MiB"], &[], Some("4MiB"), None).contains("half"));
        assert!(error(&["1m"], &[], Some("512KiB"), None).contains("at least 1.0 MiB"));
        assert!(error(&[], &[], None, Some("200%")).contains("`200%`"));
    }

    #[test]
    fn without_a_word_a_twentieth_stays_free_but_no_more_than_a_gibibyte() {
        let free = parse(&[], &[], None, None).unwrap().min_free;
        assert_eq!(free.of(1000), 50);
        assert_eq!(free.of(1 << 40), 1 << 30);
    }
}
