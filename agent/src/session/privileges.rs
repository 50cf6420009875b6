//! Checks privileges before programs are loaded, and drops those that are not needed any more.

use anyhow::{Result, bail};

use super::messages::message;

/// Capability numbers of linux/capability.h.
const CAP_SYS_PTRACE: u32 = 19;
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
    has(CAP_SYS_ADMIN) || lacking(capabilities).is_empty()
}

/// The capabilities required without CAP_SYS_ADMIN that this set lacks.
fn lacking(capabilities: u64) -> Vec<&'static str> {
    [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)]
        .into_iter()
        .filter(|(_, capability)| capabilities & (1 << capability) == 0)
        .map(|(name, _)| name)
        .collect()
}

/// What these capabilities do not allow although they suffice to record; `None` if nothing is missing.
pub fn shortcoming(capabilities: u64) -> Option<&'static str> {
    (suffice(capabilities) && capabilities & (1 << CAP_SYS_PTRACE) == 0).then_some(
        "no CAP_SYS_PTRACE: open file descriptors of other users' processes are not counted (sample.fds), and \
         executables of running processes may be unknown (proc.exe)",
    )
}

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether this process sees the same process ids as kernel events.
pub fn in_initial_pid_namespace() -> bool {
    let inode = std::fs::metadata("/proc/self/ns/pid").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    // Without /proc, a later step fails with a clearer message.
    inode.map_or(true, |inode| inode == INITIAL_PID_NAMESPACE)
}

/// Whether the kernel hides its memory from all programs, including eBPF programs of root (`lockdown=confidentiality`).
/// False if securityfs is not mounted.
pub fn is_confidential() -> bool {
    std::fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|text| chosen(&text) == "confidentiality")
}

/// The word in brackets.
fn chosen(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(word, _)| word)
}

/// Checks whether this process can record; the error names the command that would work.
///
/// # Errors
///
/// This process is not allowed to load eBPF programs, sees other process ids than the kernel, or the kernel is locked down.
pub fn require() -> Result<()> {
    if !in_initial_pid_namespace() {
        bail!(
            "cannot record in a pid namespace of its own: process ids would be wrong; run ktape's container with --pid=host"
        );
    }
    if is_confidential() {
        bail!(
            "cannot record: the kernel is locked down (lockdown=confidentiality) and does not allow programs to read its memory; \
             boot with lockdown=integrity"
        );
    }
    let capabilities = effective();
    if suffice(capabilities) {
        if let Some(shortcoming) = shortcoming(capabilities) {
            message(shortcoming);
        }
        return Ok(());
    }
    let arguments =
        std::env::args_os().map(|arg| quote(&arg.to_string_lossy())).collect::<Vec<_>>().join(" ");
    // A user who lacks several needs sudo, not their names.
    let lacking = lacking(capabilities);
    let missing = if lacking.len() == 1 { format!("; missing: {}", lacking[0]) } else { String::new() };
    bail!("recording needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE{missing}; run: sudo {arguments}")
}

/// Drops all capabilities that are not needed once the programs are loaded, permanently: a bug can only use what is left.
///
/// These are kept: for attaching and for reading maps and iterators, CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN if they are
/// missing); for `/proc` of other users' processes, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; for kernel symbols,
/// CAP_SYSLOG; for a higher priority than the recorded workload, CAP_SYS_NICE. If more `files` will be created,
/// CAP_DAC_OVERRIDE, CAP_CHOWN and CAP_FOWNER, to create and delete them in other users' directories and to give them to
/// the user who called sudo. For a `command`, CAP_KILL, to signal it.
///
/// Threads that were started before keep their capabilities.
pub fn drop_unneeded(files: bool, command: bool) {
    use caps::{CapSet, Capability};
    let mut kept = vec![
        Capability::CAP_BPF,
        Capability::CAP_PERFMON,
        Capability::CAP_SYS_PTRACE,
        Capability::CAP_DAC_READ_SEARCH,
        Capability::CAP_SYSLOG,
        Capability::CAP_SYS_NICE,
    ];
    if !lacking(effective()).is_empty() {
        kept.push(Capability::CAP_SYS_ADMIN);
    }
    if files {
        kept.extend([Capability::CAP_DAC_OVERRIDE, Capability::CAP_CHOWN, Capability::CAP_FOWNER]);
    }
    if command {
        kept.push(Capability::CAP_KILL);
    }
    let apply = || -> Result<(), caps::errors::CapsError> {
        let own = caps::read(None, CapSet::Permitted)?;
        // Without CAP_SETPCAP the bounding set stays. It matters only for executed programs, and none is executed.
        if own.contains(&Capability::CAP_SETPCAP) {
            for capability in caps::read(None, CapSet::Bounding)?.into_iter().filter(|c| !kept.contains(c)) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
        let left: caps::CapsHashSet =
            own.into_iter().filter(|capability| kept.contains(capability)).collect();
        caps::clear(None, CapSet::Ambient)?;
        caps::set(None, CapSet::Inheritable, &caps::CapsHashSet::new())?;
        caps::set(None, CapSet::Effective, &left)?;
        caps::set(None, CapSet::Permitted, &left)
    };
    if let Err(error) = apply() {
        tracing::warn!(%error, "cannot drop unneeded capabilities");
    }
}

/// Quotes an argument for a shell, if necessary.
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
    fn bpf_and_perfmon_or_sys_admin_suffice() {
        assert!(!suffice(0));
        assert!(!suffice(1 << CAP_BPF));
        assert!(suffice(1 << CAP_BPF | 1 << CAP_PERFMON));
        assert!(suffice(1 << CAP_SYS_ADMIN));
    }

    #[test]
    fn a_missing_sys_ptrace_is_reported_where_the_rest_suffices() {
        let both = 1 << CAP_BPF | 1 << CAP_PERFMON;
        assert!(shortcoming(both).is_some_and(|text| text.starts_with("no CAP_SYS_PTRACE: ")));
        assert!(shortcoming(1 << CAP_SYS_ADMIN).is_some());
        assert_eq!(shortcoming(both | 1 << CAP_SYS_PTRACE), None);
        assert_eq!(shortcoming(0), None);
    }

    #[test]
    fn the_active_lockdown_mode_is_in_brackets() {
        assert_eq!(chosen("none integrity [confidentiality]\n"), "confidentiality");
        assert_eq!(chosen("[none] integrity confidentiality\n"), "none");
        assert_eq!(chosen(""), "");
    }

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(quote("capture"), "capture");
        assert_eq!(quote("proc.name = x"), "'proc.name = x'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
