//! Names of signals.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Names of signals 1 to 31, as on x86, arm and every other architecture that ktape records on.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// Other names that programs use for the same numbers.
const ALIASES: [(&str, u32); 4] = [("SIGIOT", 6), ("SIGPOLL", 29), ("SIGCLD", 17), ("SIGUNUSED", 31)];

/// `SIGRTMIN` as programs see it: the C library keeps the kernel's first two real-time signals, 32 and 33, for itself.
const RT_MIN: u32 = 34;
const RT_MAX: u32 = 64;
/// Real-time signals up to this one are counted from `SIGRTMIN`, those above from `SIGRTMAX`, as `kill -l` prints them.
const RT_MIDDLE: u32 = 49;

/// The name of a signal, as `kill -l` prints it: `SIGKILL`, `SIGRTMIN+2`, `SIGRTMAX-1`. The bare number of one that has no
/// name: 32 and 33, and those that do not exist.
pub fn signal_name(signal: u32) -> Cow<'static, str> {
    match signal {
        1..=31 => Cow::Borrowed(SIGNALS[signal as usize - 1]),
        RT_MIN => Cow::Borrowed("SIGRTMIN"),
        35..=RT_MIDDLE => Cow::Owned(format!("SIGRTMIN+{}", signal - RT_MIN)),
        50..RT_MAX => Cow::Owned(format!("SIGRTMAX-{}", RT_MAX - signal)),
        RT_MAX => Cow::Borrowed("SIGRTMAX"),
        _ => Cow::Owned(signal.to_string()),
    }
}

/// Every name of a signal below the real-time ones, other names included, and the two that real-time signals are counted
/// from.
pub fn signal_names() -> impl Iterator<Item = &'static str> {
    SIGNALS.into_iter().chain(ALIASES.map(|(name, _)| name)).chain(["SIGRTMIN", "SIGRTMAX"])
}

/// The number of a signal from its name in upper or lower case, with or without `SIG`; also `SIGRTMIN+n`, `SIGRTMAX-n` and a bare
/// number from 1 to 64.
pub fn signal_number(name: &str) -> Option<u32> {
    if let Some(number) = bare(name) {
        return (1..=RT_MAX).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = (1..).zip(SIGNALS).map(|(number, name)| (name, number)).chain(ALIASES);
    if let Some((_, number)) = named.into_iter().find(|(name, _)| &name[3..] == short) {
        return Some(number);
    }
    let number = match short {
        "RTMIN" => RT_MIN,
        "RTMAX" => RT_MAX,
        _ => match (short.strip_prefix("RTMIN+"), short.strip_prefix("RTMAX-")) {
            (Some(n), _) => RT_MIN.checked_add(bare(n)?)?,
            (_, Some(n)) => RT_MAX.checked_sub(bare(n)?)?,
            _ => return None,
        },
    };
    (RT_MIN..=RT_MAX).contains(&number).then_some(number)
}

/// Parses a number without sign; `str::parse` alone would accept `+`.
fn bare(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
