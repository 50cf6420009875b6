//! A guest with systemd as process 1.

use std::fs;

use super::Guest;

/// Where systemd looks for programs of its own, without the first slash.
pub(super) const PROGRAMS: &str = "usr/lib/systemd/";
/// From 254 on it starts services by this.
const EXECUTOR: &str = "/usr/lib/systemd/systemd-executor";

impl Guest {
    /// This machine's systemd as process 1, with the script as a service of it. There is no journal.
    #[must_use]
    pub fn systemd(mut self) -> Self {
        if let Ok(content) = fs::read(EXECUTOR) {
            // For its libraries.
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
