//! The limits of a capture's files: when one ends and the next begins, and how much of the disk they may take.

use std::time::Duration;

use ktape_reader::text::units::{self, duration, size};

/// Bytes of the smallest file worth rotating: header and index alone take about 40 KiB.
const MIN_FILE_BYTES: u64 = 256 << 10;
/// The shortest time after which a file ends.
const MIN_FILE_TIME: Duration = Duration::from_secs(1);
/// Without `--min-free`: this share of the file system stays free ...
const FREE_SHARE: f64 = 0.05;
/// ... but at most this many bytes.
const FREE_MAX_BYTES: u64 = 1 << 30;

/// How much of a file system has to stay free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinFree {
    /// Bytes.
    Bytes(u64),
    /// A share (0.0 to 1.0) of the file system's size, at most this many bytes.
    Share(f64, u64),
}

impl MinFree {
    /// In bytes, for a file system of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share, most) => ((total as f64 * share) as u64).min(most),
        }
    }
}

/// All limits; `None` is no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreLimits {
    /// A file ends before it becomes larger than this, bytes.
    pub rotate_bytes: Option<u64>,
    /// A file ends after this time.
    pub rotate_every: Option<Duration>,
    /// At most this many files are kept, the current one included.
    pub keep_files: Option<u64>,
    /// Files that ended longer ago are deleted.
    pub keep_age: Option<Duration>,
    /// All files together never take more than this, bytes.
    pub max_bytes: Option<u64>,
    /// Space on the file system that stays free.
    pub min_free: MinFree,
    /// Whether files are synced as they are written.
    pub sync: bool,
}

impl Default for StoreLimits {
    /// Those of a command line without options.
    fn default() -> Self {
        Self {
            rotate_bytes: None,
            rotate_every: None,
            keep_files: None,
            keep_age: None,
            max_bytes: None,
            min_free: MinFree::Share(FREE_SHARE, FREE_MAX_BYTES),
            sync: false,
        }
    }
}

/// The command line's options for limits, as the user wrote them.
#[derive(Clone, Debug, Default)]
pub struct LimitOptions<'a> {
    /// `--rotate`, each a size or a time.
    pub rotate: &'a [String],
    /// `--keep`, each a number of files, a time or a size.
    pub keep: &'a [String],
    /// `--max-size`.
    pub max_size: Option<&'a str>,
    /// `--min-free`, a size or a share.
    pub min_free: Option<&'a str>,
    /// `--sync`; by default on if files are rotated.
    pub sync: Option<bool>,
}

impl StoreLimits {
    /// Parses the command line's options.
    ///
    /// # Errors
    /// A message for the user, if an option cannot be parsed or contradicts another one.
    pub fn parse(options: &LimitOptions<'_>) -> Result<Self, String> {
        let mut limits = Self::default();
        options.rotate.iter().try_for_each(|text| limits.add_rotate(text))?;
        options.keep.iter().try_for_each(|text| limits.add_keep(text))?;
        if let Some(text) = options.max_size {
            lower(&mut limits.max_bytes, size(text).map_err(|error| error.to_string())?);
        }
        if let Some(text) = options.min_free {
            limits.min_free = min_free(text)?;
        }
        if !options.keep.is_empty() && !limits.is_rotated() {
            return Err("--keep needs --rotate: only rotated files are deleted".to_owned());
        }
        limits.check()?;
        limits.sync = options.sync.unwrap_or_else(|| limits.is_rotated());
        Ok(limits)
    }

    /// One `--rotate`.
    fn add_rotate(&mut self, text: &str) -> Result<(), String> {
        if let Ok(ns) = duration(text) {
            lower(&mut self.rotate_every, Duration::from_nanos(ns));
        } else if let Ok(bytes) = size(text) {
            lower(&mut self.rotate_bytes, bytes);
        } else {
            return Err(format!("--rotate takes a size or a time, such as 256MiB or 10m, not `{text}`"));
        }
        Ok(())
    }

    /// One `--keep`.
    fn add_keep(&mut self, text: &str) -> Result<(), String> {
        if let Ok(files) = text.parse::<u64>() {
            lower(&mut self.keep_files, files);
        } else if let Ok(ns) = duration(text) {
            lower(&mut self.keep_age, Duration::from_nanos(ns));
        } else if let Ok(bytes) = size(text) {
            lower(&mut self.max_bytes, bytes);
        } else {
            return Err(format!(
                "--keep takes a number of files, a time or a size, such as 20, 7d or 10GiB, not `{text}`"
            ));
        }
        Ok(())
    }

    /// Whether the limits are large enough, and fit together.
    fn check(&self) -> Result<(), String> {
        if self.rotate_bytes.is_some_and(|bytes| bytes < MIN_FILE_BYTES) {
            return Err(format!("--rotate must be at least {}", units::size_text(MIN_FILE_BYTES)));
        }
        if self.rotate_every.is_some_and(|time| time < MIN_FILE_TIME) {
            return Err("--rotate must be at least 1s".to_owned());
        }
        if self.keep_files == Some(0) {
            return Err("--keep must be at least 1: the current file counts".to_owned());
        }
        if let (Some(max), Some(rotate)) = (self.max_bytes, self.rotate_bytes)
            && rotate > max / 2
        {
            return Err(
                "--rotate must be at most half of --max-size, so that a whole file is left after the oldest is deleted"
                    .to_owned(),
            );
        }
        let smallest = if self.is_rotated() { 4 * MIN_FILE_BYTES } else { MIN_FILE_BYTES };
        if self.max_bytes.is_some_and(|max| max < smallest) {
            return Err(format!("--max-size must be at least {}", units::size_text(smallest)));
        }
        Ok(())
    }

    /// Whether files are rotated: there may be more than one.
    pub fn is_rotated(&self) -> bool {
        self.rotate_bytes.is_some() || self.rotate_every.is_some()
    }
}

/// Lowers a limit to `value` if it is higher.
fn lower<T: Ord + Copy>(limit: &mut Option<T>, value: T) {
    *limit = Some(limit.map_or(value, |old| old.min(value)));
}

fn min_free(text: &str) -> Result<MinFree, String> {
    if let Some(share) = text.strip_suffix('%') {
        return match share.trim().parse::<f64>() {
            Ok(share) if (0.0..100.0).contains(&share) => Ok(MinFree::Share(share / 100.0, u64::MAX)),
            _ => Err(format!("--min-free takes a size or a share, such as 1GiB or 5%, not `{text}`")),
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
    ) -> Result<StoreLimits, String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (rotate, keep) = (owned(rotate), owned(keep));
        StoreLimits::parse(&LimitOptions {
            rotate: &rotate,
            keep: &keep,
            max_size: max,
            min_free: free,
            sync: None,
        })
    }

    #[test]
    fn sizes_times_and_numbers_are_told_apart() {
        let limits = parse(&["256MiB", "10m"], &["20", "7d", "10GiB"], Some("4GiB"), Some("5%")).unwrap();
        assert_eq!(limits.rotate_bytes, Some(256 << 20));
        assert_eq!(limits.rotate_every, Some(Duration::from_secs(600)));
        assert_eq!((limits.keep_files, limits.keep_age), (Some(20), Some(Duration::from_secs(7 * 86_400))));
        assert_eq!(limits.max_bytes, Some(4 << 30), "the lower of both");
        assert_eq!(limits.min_free, MinFree::Share(0.05, u64::MAX));
        assert!(limits.is_rotated() && limits.sync);
        let single = parse(&[], &[], Some("1MiB"), Some("0")).unwrap();
        assert!(!single.is_rotated() && !single.sync);
        assert_eq!(single.min_free.of(1 << 40), 0);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let error = |rotate: &[&str], keep: &[&str], max, free| parse(rotate, keep, max, free).unwrap_err();
        for (error, expected) in [
            (
                error(&["soon"], &[], None, None),
                "--rotate takes a size or a time, such as 256MiB or 10m, not `soon`",
            ),
            (error(&["1KiB"], &[], None, None), "--rotate must be at least 256.0 KiB"),
            (error(&["10ms"], &[], None, None), "--rotate must be at least 1s"),
            (error(&[], &["3"], None, None), "--keep needs --rotate: only rotated files are deleted"),
            (error(&["1m"], &["0"], None, None), "--keep must be at least 1: the current file counts"),
            (
                error(&["1m"], &["some"], None, None),
                "--keep takes a number of files, a time or a size, such as 20, 7d or 10GiB, not `some`",
            ),
            (
                error(&["3MiB"], &[], Some("4MiB"), None),
                "--rotate must be at most half of --max-size, so that a whole file is left after the oldest is deleted",
            ),
            (error(&["1m"], &[], Some("512KiB"), None), "--max-size must be at least 1.0 MiB"),
            (error(&[], &[], Some("1KiB"), None), "--max-size must be at least 256.0 KiB"),
            (
                error(&[], &[], None, Some("200%")),
                "--min-free takes a size or a share, such as 1GiB or 5%, not `200%`",
            ),
        ] {
            assert_eq!(error, expected);
        }
        assert!(parse(&[], &[], Some("much"), None).is_err());
        assert!(parse(&[], &[], None, Some("much")).is_err());
    }

    #[test]
    fn by_default_five_percent_stay_free_but_at_most_a_gibibyte() {
        let free = parse(&[], &[], None, None).unwrap().min_free;
        assert_eq!(free.of(1000), 50);
        assert_eq!(free.of(1 << 40), 1 << 30);
    }
}
