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

/// Refuses with the command that would work.
///
/// # Errors
///
/// This process may not load eBPF programs.
pub fn require() -> Result<()> {
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
