//! Runs `apt` with its own package lists, independent of the system's packages.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::tables::{ARCHIVE_KEYS as KEYS, EMULATOR_SUITE, MIRROR, SUITES_OF_ARCHIVE};
use crate::packages::APT_OPTIONS;
use crate::run;

/// A directory with package lists, downloads and configuration.
pub struct Apt {
    dir: PathBuf,
    config: PathBuf,
}

impl Apt {
    /// Writes the configuration and downloads the package lists.
    pub fn open(dir: &Path) -> Result<Self> {
        if run::which("apt-get").is_none() || run::which("dpkg-deb").is_none() {
            bail!("apt-get and dpkg-deb are required to download packages");
        }
        if !Path::new(KEYS).is_file() {
            bail!("{KEYS} is missing: install debian-archive-keyring");
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let mirror = env::var("KTAPE_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        let sources: String = SUITES_OF_ARCHIVE
            .iter()
            .map(|(archive, suite)| format!("deb [signed-by={KEYS}] {mirror}/{archive} {suite} main\n"))
            .collect();
        let config = dir.join("apt.conf");
        let at = dir.display();
        // apt reads the system's configuration before this one: its proxy applies, its hooks are cleared.
        let text = format!(
            "Dir::Etc::sourcelist \"{at}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::State::lists \"{at}/lists\";\n\
             Dir::State::status \"{at}/status\";\n\
             Dir::State::extended_states \"{at}/extended_states\";\n\
             Dir::Cache \"{at}/cache\";\n\
             Dir::Log \"{at}\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Architecture \"amd64\";\n\
             APT::Default-Release \"{EMULATOR_SUITE}\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear DPkg::Pre-Install-Pkgs;\n\
             #clear DPkg::Pre-Invoke;\n\
             #clear DPkg::Post-Invoke;\n"
        );
        for (name, text) in [("sources.list", sources.as_str()), ("status", ""), ("apt.conf", &text)] {
            let file = dir.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let apt = Self { dir: dir.to_path_buf(), config };
        run::run(apt.command("apt-get").args(["update", "-qq"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).args(APT_OPTIONS).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Names of all packages that start with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let all = run::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(all.lines().map(str::to_owned).collect())
    }

    /// Downloads and unpacks packages without their dependencies.
    pub fn unpack(&self, packages: &[&str], to: &Path) -> Result<()> {
        let downloads = to.with_extension("deb");
        fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
        let mut apt = self.command("apt-get");
        run::run(apt.args(["download", "-qq"]).args(packages).current_dir(&downloads))?;
        unpack_all(&downloads, to)?;
        fs::remove_dir_all(&downloads).with_context(|| format!("cannot remove {}", downloads.display()))
    }

    /// Downloads and unpacks a package with all its dependencies, down to the C library.
    pub fn unpack_with_dependencies(&self, package: &str, to: &Path) -> Result<()> {
        let mut apt = self.command("apt-get");
        let install = ["install", "-y", "-qq", "--download-only", "--no-install-recommends", package];
        // Captures the output: apt lists at length what it would install.
        run::output(apt.args(install))?;
        unpack_all(&self.dir.join("cache/archives"), to)?;
        run::run(self.command("apt-get").arg("clean"))
    }
}

fn unpack_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(to))?;
        }
    }
    Ok(())
}
