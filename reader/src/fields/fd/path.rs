//! Absolute paths from the paths that calls were given.

/// Stands for the beginning of a path that is not known.
pub(super) const CUT: &[u8] = b"...";

/// Appends `path` as an absolute path: a relative one below the directory `base`, or as it is if that is unknown. Repeated
/// slashes, `.` and slashes at the end are removed, and `..` removes the component before it, whatever symbolic links
/// there are.
pub(super) fn write_absolute(base: Option<&[u8]>, path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let root = match base {
        _ if path.starts_with(b"/") => start,
        Some(base) => {
            out.extend_from_slice(base.strip_suffix(b"/").unwrap_or(base));
            start + if base.starts_with(CUT) { CUT.len() } else { 0 }
        }
        None => {
            out.extend_from_slice(path);
            return;
        }
    };
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = out[root..].iter().rposition(|byte| *byte == b'/');
                out.truncate(root + parent.unwrap_or(0));
            }
            component => {
                out.push(b'/');
                out.extend_from_slice(component);
            }
        }
    }
    if out.len() == start {
        out.push(b'/');
    }
}

/// The directory and the name of an absolute path; `None` if it is relative, so that its directory is unknown.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.starts_with(b"/") && !path.starts_with(CUT) {
        return None;
    }
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((if slash == 0 { b"/" } else { &path[..slash] }, &path[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        for (base, path, expected) in [
            (None, "/a//b/./c/", "/a/b/c"),
            (None, "/a/../../b", "/b"),
            (None, "/..", "/"),
            (None, "/", "/"),
            (None, "../x/./y", "../x/./y"),
            (Some("/srv"), "a", "/srv/a"),
            (Some("/srv"), "./a/../b", "/srv/b"),
            (Some("/srv"), "../../../b", "/b"),
            (Some("/srv"), "..", "/"),
            (Some("/srv"), ".", "/srv"),
            (Some("/srv"), "/etc/hosts", "/etc/hosts"),
            (Some("/"), "a", "/a"),
            (Some("/"), ".", "/"),
            (Some(".../deep"), "a", ".../deep/a"),
            (Some(".../deep"), "../../../a", ".../a"),
            (Some(".../deep"), "/a", "/a"),
        ] {
            let mut out = b"x".to_vec();
            write_absolute(base.map(str::as_bytes), path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("x{expected}"), "{base:?} {path}");
        }
    }

    #[test]
    fn paths_have_a_directory_and_a_name() {
        for (path, expected) in [
            ("/etc/hosts", Some(("/etc", "hosts"))),
            ("/hosts", Some(("/", "hosts"))),
            (".../a/b", Some((".../a", "b"))),
            ("a/b", None),
            ("", None),
        ] {
            let expected = expected.map(|(a, b): (&str, &str)| (a.as_bytes(), b.as_bytes()));
            assert_eq!(split(path.as_bytes()), expected, "{path}");
        }
    }
}
