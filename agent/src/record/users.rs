//! Names of users, from the host's `/etc/passwd`: other sources may hang.

use rustc_hash::FxHashMap;

use crate::host_root::HostRoot;

/// Names by user id.
#[derive(Debug, Default)]
pub struct Users {
    names: FxHashMap<u32, Box<[u8]>>,
}

impl Users {
    /// Reads the users of the host with this root.
    pub fn of_host(root: &HostRoot) -> Self {
        std::fs::read(root.path("/etc/passwd")).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &[u8]) -> Self {
        let mut names = FxHashMap::default();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) {
                // The first entry of an id is the one that getpwuid finds.
                names.entry(uid).or_insert_with(|| name.into());
            }
        }
        Self { names }
    }

    /// The user's name, empty if it has none.
    pub fn name(&self, uid: u32) -> &[u8] {
        self.names.get(&uid).map_or(b"", |name| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_wins_and_malformed_lines_are_skipped() {
        let users = Users::parse(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbroken\n\nweb:x:33:33:a:b:c\nx:y:z\n");
        assert_eq!(users.name(0), b"root");
        assert_eq!(users.name(33), b"web");
        assert_eq!(users.name(1), b"");
    }
}
