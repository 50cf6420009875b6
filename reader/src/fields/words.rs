//! Values that are one of a fixed set of words.

use crate::containers::Runtime;

/// A fixed set of words. What the recorder writes is one of them; words of earlier versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// What one of them is, for messages: `a state of a connection`.
    pub what: &'static str,
    /// The words, in the order in which a message lists them.
    pub all: &'static [&'static str],
}

impl Words {
    /// The word that `text` is; its case matters only where two words differ in nothing else.
    pub fn find(&self, text: &str) -> Option<&'static str> {
        if let Some(word) = self.all.iter().find(|word| **word == text) {
            return Some(word);
        }
        let mut alike = self.all.iter().filter(|word| word.eq_ignore_ascii_case(text));
        match (alike.next(), alike.next()) {
            (Some(word), None) => Some(word),
            _ => None,
        }
    }
}

const fn words(what: &'static str, all: &'static [&'static str]) -> Words {
    Words { what, all }
}

/// `evt.dir`.
pub static DIRECTIONS: Words = words("a direction of events: each is recorded once, at its end", &["<"]);
/// `evt.io_dir`.
pub static IO_DIRECTIONS: Words = words("a direction of bytes", &["r", "w"]);
/// `fd.sockfamily`.
pub static SOCKET_FAMILIES: Words = words("a family of sockets", &["ip", "unix"]);
/// `syscall.abi`.
pub static ABIS: Words = words("an ABI", &["native", "i386", "x32", "unknown"]);
/// `container.type`.
pub static CONTAINER_TYPES: Words = words("a type of containers", &CONTAINER_TYPE_NAMES);
/// The letters of [`events::task_state::LETTERS`].
pub static TASK_STATES: Words =
    words("a state of a thread", &["R", "S", "D", "T", "t", "X", "Z", "I", "P", "?"]);
/// `loss.stage`.
pub static LOSS_STAGES: Words =
    words("a stage of loss", &["ring", "recursion", "storage", "map", "queue", "writer"]);
/// `block.op`.
pub static BLOCK_OPS: Words = words(
    "an operation of a disk request",
    &["read", "write", "flush", "discard", "secure_erase", "write_zeroes", "zone", "driver", "other"],
);
/// The flags in `block.rq_flags`, in the order in which the recorder joins them.
pub static BLOCK_FLAGS: Words = words(
    "a flag of a disk request",
    &["sync", "meta", "prio", "fua", "preflush", "ahead", "background", "nowait"],
);
/// The flags in `uring.sqe_flags`, in the order in which the recorder joins them.
pub static URING_FLAGS: Words = words(
    "a flag of a request of io_uring",
    &["fixed_file", "drain", "link", "hardlink", "async", "buffer", "skip_success", "direct"],
);
/// `block.owner_kind`.
pub static BLOCK_OWNERS: Words = words("a source of an owner", &["bio", "submitter", "unknown"]);
/// `net.old`.
pub static TCP_STATES: Words = words("a state of a connection", &TCP_STATE_NAMES);
/// `net.new`.
pub static NET_CHANGES: Words = words("a state of a connection", &NET_CHANGE_NAMES);
/// `net.role`.
pub static NET_ROLES: Words = words("a role", &["client", "server", "listener", "unknown"]);
/// `net.reason`.
pub static NET_REASONS: Words = words(
    "a reason for the end of a connection",
    &["closed", "refused", "reset", "aborted", "timed_out", "unreachable", "given_up", "error"],
);
/// `signal.cause`.
pub static SIGNAL_CAUSES: Words =
    words("a cause of a signal", &["user", "tkill", "kernel", "timer", "child", "fault", "other"]);
/// `signal.result`.
pub static SIGNAL_RESULTS: Words =
    words("a result of a signal", &["delivered", "ignored", "pending", "overflow", "lost", "unknown"]);
/// `oom.scope`.
pub static OOM_SCOPES: Words = words("a scope of an OOM kill", &["cgroup", "host", "unknown"]);
/// `stall.phase`.
pub static STALL_PHASES: Words =
    words("a phase of a stall", &["woken", "exited", "unfinished", "asleep", "still"]);
/// `stall.dev_from`.
pub static STALL_DEVICES: Words = words("a source of a device", &["fd", "writeback"]);

/// `thread_state.state`.
pub static THREAD_STATES: Words = words(
    "a state of a thread",
    &["running", "runnable", "sleeping", "blocked", "stopped", "idle", "off_cpu", "unknown"],
);

/// `conn.proto`.
pub static CONN_PROTOCOLS: Words = words("a protocol of a connection", &["tcp", "udp", "unix"]);
/// `conn.state`: `open`, and the words of `net.reason`.
pub static CONN_STATES: Words = words(
    "a state of a connection",
    &["open", "closed", "refused", "reset", "aborted", "timed_out", "unreachable", "given_up", "error"],
);

const TCP_STATE_NAMES: [&str; 14] = [
    "SYN_SENT",
    "SYN_RECV",
    "NEW_SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "CLOSING",
    "CLOSE",
    "LISTEN",
    "BOUND_INACTIVE",
    "unknown",
];
/// The states, and `OPEN` for connections whose counters are reported.
static NET_CHANGE_NAMES: [&str; TCP_STATE_NAMES.len() + 1] = {
    let mut names = ["OPEN"; TCP_STATE_NAMES.len() + 1];
    let mut i = 0;
    while i < TCP_STATE_NAMES.len() {
        names[i] = TCP_STATE_NAMES[i];
        i += 1;
    }
    names
};

const RUNTIMES: usize = Runtime::ALL.len();
static CONTAINER_TYPE_NAMES: [&str; RUNTIMES + 1] = {
    let mut names = ["host"; RUNTIMES + 1];
    let mut i = 0;
    while i < RUNTIMES {
        names[i] = Runtime::ALL[i].name();
        i += 1;
    }
    names
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_matters_only_between_words_that_differ_in_it() {
        assert_eq!(TCP_STATES.find("established"), Some("ESTABLISHED"));
        assert_eq!((TASK_STATES.find("T"), TASK_STATES.find("t")), (Some("T"), Some("t")));
        assert_eq!((TASK_STATES.find("d"), TASK_STATES.find("U")), (Some("D"), None));
        assert_eq!(CONTAINER_TYPES.find("docker"), Some("docker"));
        assert_eq!(CONTAINER_TYPES.find("host"), Some("host"));
    }

    #[test]
    fn letters_of_states_are_those_of_the_table_of_events() {
        let letters: Vec<u8> = TASK_STATES.all.iter().map(|word| word.as_bytes()[0]).collect();
        assert_eq!(letters, events::task_state::LETTERS);
    }
}
