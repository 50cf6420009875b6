//! Whether this process may load programs, before it tries.

use anyhow::{Result, bail};

/// Capability numbers of linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The effective capabilities of this process, as a bit set.
pub fn effective() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// Whether these capabilities suffice to record.
pub fn suffice(capabilities: u64) -> bool {
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether process ids mean the same here as in the kernel's events.
pub fn in_initial_pid_namespace() -> bool {
    let inode = std::fs::metadata("/proc/self/ns/pid").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    // A system without /proc has other troubles.
    inode.map_or(true, |inode| inode == INITIAL_PID_NAMESPACE)
}

/// Refuses with the command that would work.
///
/// # Errors
///
/// This process may not load eBPF programs, or sees other process ids than the kernel.
pub fn require() -> Result<()> {
    if !in_initial_pid_namespace() {
        bail!(
            "ktape runs in a pid namespace of its own and would mistake processes; give its container the host's (--pid=host)"
        );
    }
    if suffice(effective()) {
        return Ok(());
    }
    let arguments =
        std::env::args_os().map(|arg| quote(&arg.to_string_lossy())).collect::<Vec<_>>().join(" ");
    bail!("recording needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE); run: sudo {arguments}")
}

/// For a shell.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_and_perfmon_or_admin() {
        assert!(!suffice(0));
        assert!(!suffice(1 << CAP_BPF));
        assert!(suffice(1 << CAP_BPF | 1 << CAP_PERFMON));
        assert!(suffice(1 << CAP_SYS_ADMIN));
    }

    #[test]
    fn quoting_is_for_a_shell() {
        assert_eq!(quote("capture"), "capture");
        assert_eq!(quote("proc.name = x"), "'proc.name = x'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
