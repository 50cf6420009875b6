//! Builds a guest's initramfs, with everything that its script needs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cpio::Cpio;
use super::{Guest, ROOTFS, TREE, WORKLOAD, systemd};
use crate::container;

impl Guest {
    /// Writes the initramfs of a guest that runs `script`.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(super) fn write_archive(&self, to: &Path, script: &str) -> io::Result<()> {
        let scratch = to.with_extension("stripped");
        fs::create_dir_all(&scratch)?;
        let mut archive = Archive::new(BufWriter::new(File::create(to)?), scratch);
        archive.text("init", include_str!("init.sh"))?;
        archive.host_file(Path::new("/bin/busybox"), "bin/busybox")?;
        for entry in fs::read_dir(self.kernel.join("modules"))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            archive.host_file(&path, &format!("modules/{name}"))?;
        }
        archive.host_file(&self.kernel.join("modules.load"), "modules.load")?;

        archive.text(&format!("{TREE}/start"), include_str!("start.sh"))?;
        archive.text(&format!("{TREE}/functions"), include_str!("functions.sh"))?;
        archive.text(&format!("{TREE}/run-script"), include_str!("run.sh"))?;
        archive.text(&format!("{TREE}/script"), script)?;
        archive.host_file(Path::new("/bin/busybox"), &format!("{TREE}/bin/busybox"))?;
        for (name, program) in &self.programs {
            archive.program(program, name, TREE)?;
        }
        if self.files.iter().any(|(path, _)| path.starts_with("bundles/")) {
            archive.host_file(Path::new("/bin/busybox"), &format!("{TREE}{ROOTFS}/bin/busybox"))?;
            for (name, program) in self.programs.iter().filter(|(name, _)| name == WORKLOAD) {
                archive.program(program, name, &format!("{TREE}{ROOTFS}"))?;
            }
        }
        for (path, content) in &self.files {
            let is_program = path.starts_with(systemd::PROGRAMS);
            archive.add(&format!("{TREE}/{path}"), if is_program { 0o755 } else { 0o644 }, content)?;
        }
        archive.cpio.finish().map(drop)
    }
}

/// An initramfs in construction.
struct Archive<W> {
    cpio: Cpio<W>,
    /// Paths that were added.
    added: BTreeSet<String>,
    /// For stripped programs.
    scratch: PathBuf,
}

impl<W: Write> Archive<W> {
    fn new(out: W, scratch: PathBuf) -> Self {
        Self { cpio: Cpio::new(out), added: BTreeSet::new(), scratch }
    }

    /// Adds a file and its parent directories, unless they were added before.
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            if self.added.insert(path[..at].to_owned()) {
                self.cpio.directory(&path[..at])?;
            }
        }
        if self.added.insert(path.to_owned()) { self.cpio.file(path, mode, content) } else { Ok(()) }
    }

    fn text(&mut self, path: &str, content: &str) -> io::Result<()> {
        self.add(path, 0o755, content.as_bytes())
    }

    fn host_file(&mut self, file: &Path, path: &str) -> io::Result<()> {
        let content =
            fs::read(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
        self.add(path, 0o755, &content)
    }

    /// Adds a program as `bin/NAME` below `tree`, stripped, with its libraries at their original paths.
    fn program(&mut self, program: &Path, name: &str, tree: &str) -> io::Result<()> {
        let stripped = self.scratch.join(name);
        let strip =
            Command::new("strip").arg("-o").arg(&stripped).arg(program).stderr(Stdio::null()).status();
        // strip fails on scripts, and if binutils is missing. Then the archive is just larger.
        let is_stripped = strip.is_ok_and(|status| status.success());
        self.host_file(if is_stripped { &stripped } else { program }, &format!("{tree}/bin/{name}"))?;
        for library in container::libraries(program) {
            self.host_file(&library, &format!("{tree}{}", library.display()))?;
        }
        Ok(())
    }
}
