//! Prepares a kernel image and the modules that guests need, so that they load without `modprobe`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::tables::{Kernel, MODULES};
use super::apt::Apt;
use crate::run;

/// Downloads and unpacks a kernel. The `cloud` flavour is small and has all needed modules.
pub fn prepare(apt: &Apt, kernel: Kernel, to: &Path) -> Result<()> {
    let names = apt.names("linux-image-")?;
    let package =
        pick(&names, kernel).with_context(|| format!("the archive has no cloud kernel {}", kernel.name))?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let mut packages = vec![package.to_owned()];
    // From Linux 7.3 on, the image is in these packages.
    for part in ["linux-binary-", "linux-modules-"] {
        packages.extend(
            apt.names(&format!("{part}{release}"))?.into_iter().filter(|n| *n == format!("{part}{release}")),
        );
    }
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let tree = to.join("tree");
    apt.unpack(&packages, &tree)?;

    let image = [
        tree.join(format!("boot/vmlinuz-{release}")),
        tree.join(format!("usr/lib/modules/{release}/vmlinuz")),
    ]
    .into_iter()
    .find(|file| file.is_file())
    .with_context(|| format!("no vmlinuz in {}", packages.join(" ")))?;
    fs::copy(&image, to.join("vmlinuz")).with_context(|| format!("cannot copy {}", image.display()))?;
    fs::write(to.join("release"), &release).context("cannot write the release")?;
    let modules = [tree.join("lib/modules"), tree.join("usr/lib/modules")]
        .into_iter()
        .map(|dir| dir.join(&release))
        .find(|dir| dir.join("kernel").is_dir())
        .with_context(|| format!("no modules in {}", packages.join(" ")))?;
    let order = take_modules(&modules, &to.join("modules"))?;
    fs::write(to.join("modules.load"), order.join("\n") + "\n")
        .context("cannot write the order of modules")?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    eprintln!("Linux {release}, {} modules", order.len());
    Ok(())
}

/// The newest matching package.
fn pick(names: &[String], kernel: Kernel) -> Option<&str> {
    let fits = |name: &&str| {
        let Some(release) = name.strip_prefix("linux-image-").and_then(|n| n.strip_suffix("-cloud-amd64"))
        else {
            return false;
        };
        // A name with fewer than three numbers is a metapackage.
        let version = numbers(release);
        version.len() > 2
            && release.starts_with(|first: char| first.is_ascii_digit())
            && kernel
                .version
                .is_none_or(|version| release.strip_prefix(version).is_some_and(|r| r.starts_with('.')))
    };
    names.iter().map(String::as_str).filter(fits).max_by_key(|name| numbers(name))
}

/// All numbers in a name, in order.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Copies the modules of [`MODULES`] and their dependencies, uncompressed. Returns their names in load order.
fn take_modules(from: &Path, to: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut files = BTreeMap::new();
    find_modules(&from.join("kernel"), &mut files)?;
    let mut order = Vec::new();
    for name in MODULES {
        // A module without a file is built in, or does not exist in this kernel.
        if files.contains_key(*name) {
            take_module(name, &files, to, &mut order)?;
        }
    }
    Ok(order)
}

fn take_module(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    to: &Path,
    order: &mut Vec<String>,
) -> Result<()> {
    if order.iter().any(|taken| taken == name) {
        return Ok(());
    }
    let file = files.get(name).with_context(|| format!("module {name} is missing"))?;
    let copy = to.join(format!("{name}.ko"));
    let extension = file.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("ko") => {
            fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Some(packed @ ("xz" | "zst" | "gz")) => {
            let program = match packed {
                "xz" => "xz",
                "zst" => "zstd",
                _ => "gzip",
            };
            let same = to.join(format!("{name}.ko.{packed}"));
            fs::copy(file, &same).with_context(|| format!("cannot copy {}", file.display()))?;
            run::run(Command::new(program).args(["-d", "-q"]).arg(&same))?;
            if same.exists() {
                fs::remove_file(&same).with_context(|| format!("cannot remove {}", same.display()))?;
            }
        }
        _ => bail!("{} is not a kernel module", file.display()),
    }
    let module = fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()))?;
    for needed in depends(&module) {
        take_module(&needed, files, to, order)?;
    }
    order.push(name.to_owned());
    Ok(())
}

/// Finds all modules below a directory, by the names that the kernel uses.
fn find_modules(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Dependencies of a module, from its section `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = &module[at + KEY.len()..];
    let value = &value[..value.iter().position(|byte| *byte == 0).unwrap_or(0)];
    let text = String::from_utf8_lossy(value);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str) -> Kernel {
        name.parse().unwrap()
    }

    #[test]
    fn the_newest_package_of_a_version_is_picked() {
        let names = [
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.118+deb13-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-6-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-image-cloud-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(pick(&names, kernel("6.12")), Some("linux-image-6.12.117+deb13-cloud-amd64"));
        assert_eq!(pick(&names, kernel("6.1")), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(pick(&names, kernel("newest")), Some("linux-image-7.3.4+deb13-cloud-amd64"));
        assert_eq!(pick(&names, kernel("5.10")), None);
    }

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(
            depends(b"x\0license=GPL\0depends=jbd2,crc16,dm-mod\0name=ext4\0"),
            ["jbd2", "crc16", "dm_mod"]
        );
        assert!(depends(b"x\0depends=\0retpoline=Y\0").is_empty());
        assert!(depends(b"none").is_empty());
    }
}
