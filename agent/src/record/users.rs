//! Names of users and groups, from the host's `/etc/passwd` and `/etc/group`: other sources may hang.

use rustc_hash::FxHashMap;

use crate::host_root::HostRoot;

/// Names by id.
type Names = FxHashMap<u32, Box<[u8]>>;

/// Names of users and groups.
#[derive(Debug, Default)]
pub struct Users {
    users: Names,
    groups: Names,
}

impl Users {
    /// Reads the users of the host with this root.
    pub fn of_host(root: &HostRoot) -> Self {
        let names = |path| std::fs::read(root.path(path)).map(|text| Self::parse(&text)).unwrap_or_default();
        Self { users: names("/etc/passwd"), groups: names("/etc/group") }
    }

    /// Both files have the id in their third column.
    fn parse(text: &[u8]) -> Names {
        let mut names = FxHashMap::default();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
                // The first entry of an id is the one that getpwuid and getgrgid find.
                names.entry(id).or_insert_with(|| name.into());
            }
        }
        names
    }

    /// The user's name, empty if it has none.
    pub fn name(&self, uid: u32) -> &[u8] {
        self.users.get(&uid).map_or(b"", |name| name)
    }

    /// The group's name, empty if it has none.
    pub fn group(&self, gid: u32) -> &[u8] {
        self.groups.get(&gid).map_or(b"", |name| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_wins_and_malformed_lines_are_skipped() {
        let users = Users::parse(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbroken\n\nweb:x:33:33:a:b:c\nx:y:z\n");
        let users = Users { users, groups: Users::parse(b"wheel:x:0:\nstaff:x:50:web,root\n") };
        assert_eq!(users.name(0), b"root");
        assert_eq!(users.name(33), b"web");
        assert_eq!(users.name(1), b"");
        assert_eq!([users.group(0), users.group(50), users.group(33)], [&b"wheel"[..], b"staff", b""]);
    }
}
