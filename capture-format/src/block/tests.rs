use super::*;

#[test]
fn newest_entry_of_the_change_log_is_of_this_version() {
    let changes = include_str!("../../../docs/format-changes.md");
    let newest = changes.lines().find_map(|line| line.strip_prefix("### ")).expect("an entry");
    let version = format!("{}.{}", FORMAT_VERSION >> 8, FORMAT_VERSION & 0xff);
    let named = newest.split(',').next();
    assert_eq!(
        named,
        Some(version.as_str()),
        "docs/format-changes.md lacks an entry for a new FORMAT_VERSION"
    );
}

#[test]
fn magic_is_found_also_where_the_bytes_end_within_it() {
    let bytes = [b"\xf5kt", &MAGIC[..], b"x", &MAGIC[..4]].concat();
    assert_eq!(find_magic(&bytes, 0), Some(3));
    assert_eq!(find_magic(&bytes, 4), Some(12));
    assert_eq!(find_magic(&bytes, 13), None);
    assert_eq!(find_magic(&bytes, bytes.len()), None);
}
