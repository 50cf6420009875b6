//! Guests with systemd as process 1.

use std::fs;

use super::Guest;

/// Directory of systemd's own programs, without the leading slash.
pub(super) const PROGRAMS: &str = "usr/lib/systemd/";
/// systemd 254 and later starts services through this program.
const EXECUTOR: &str = "/usr/lib/systemd/systemd-executor";

impl Guest {
    /// Boots with this machine's systemd as process 1, which runs the script as a service. There is no journal.
    #[must_use]
    pub fn systemd(mut self) -> Self {
        if let Ok(content) = fs::read(EXECUTOR) {
            // Added as a program for its libraries, and as a file at the path where systemd looks for it.
            self = self.program(EXECUTOR).file(&EXECUTOR[1..], &content);
        }
        for name in ["sysinit", "basic", "local-fs", "shutdown"] {
            let nothing = b"[Unit]\nDefaultDependencies=no\n";
            self = self.file(&format!("etc/systemd/system/{name}.target"), nothing);
        }
        self.file("etc/systemd/system/default.target", include_bytes!("default.target"))
            .file("etc/systemd/system/script.service", include_bytes!("script.service"))
            .program("/usr/lib/systemd/systemd")
            .program("/usr/bin/systemctl")
    }
}
