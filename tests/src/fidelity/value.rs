//! Whether two texts stand for the same value.

use std::collections::BTreeSet;

use super::log::descriptor;
use super::structs::{self, number};

/// What was found of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// ktape does not record it: it shows `_`, for what a pointer points to.
    NotRecorded,
    /// The same of the content of a buffer, which ktape never records.
    Content,
    /// The same of an address as such: there is nothing behind it, or strace does not show it either.
    Address,
    Different,
}

/// The arguments of a call in strace's log, each with its position in the kernel's order.
pub(super) fn positions<'a>(call: &str, args: &'a [String]) -> Vec<(usize, &'a str)> {
    let plain = || args.iter().map(String::as_str).enumerate().collect();
    match call {
        // strace names them, in an order of its own.
        "clone" => {
            let order =
                [("flags=", 0), ("child_stack=", 1), ("parent_tid=", 2), ("child_tidptr=", 3), ("tls=", 4)];
            let place =
                |arg: &'a String| order.iter().find_map(|(name, at)| Some((*at, arg.strip_prefix(name)?)));
            args.iter().filter_map(place).collect()
        }
        // It shows what it reads from the stack, or which call goes on.
        "rt_sigreturn" | "restart_syscall" => Vec::new(),
        // It leaves the second address out, which these operations do not use.
        "futex" if args.len() == 5 && args[1].contains("_BITSET") => {
            let at = |i: usize| if i == 4 { 5 } else { i };
            args.iter().enumerate().map(|(i, arg)| (at(i), arg.as_str())).collect()
        }
        // It shows an address that the kernel does not look at.
        "epoll_ctl" if args.get(1).is_some_and(|operation| operation == "EPOLL_CTL_DEL") => {
            args.iter().take(3).map(String::as_str).enumerate().collect()
        }
        _ => plain(),
    }
}

/// Compares an argument in strace's log with that of ktape.
pub(super) fn same(call: &str, strace: &str, ktape: &str) -> Verdict {
    // `[] => [...]` and the like: before and after the call.
    let (strace_in, strace_out) = strace.split_once(" => ").unwrap_or((strace, strace));
    let ktape = ktape.strip_suffix('~').unwrap_or(ktape);
    // `names.rs` compares the names.
    let [strace, strace_in, ktape] =
        [strace, strace_in, ktape].map(|text| descriptor(text).map_or(text, |(number, _)| number));
    // Two names of one ioctl: `BTRFS_IOC_CLONE or FICLONE`.
    if strace == ktape || strace_in == ktape || strace.split(" or ").any(|name| name == ktape) {
        return Verdict::Same;
    }
    let is_address =
        ktape.starts_with("0x") && number(ktape).is_some_and(|number| number > u64::from(u16::MAX));
    if ktape == "_" || is_address && strace.starts_with(['"', '{', '[']) {
        return not_recorded(call, strace);
    }
    if words(call, strace) == words(call, ktape) || address(strace).is_some_and(|address| address == ktape) {
        return Verdict::Same;
    }
    let same_word = |their: &str, our: &str| same(call, their, our) == Verdict::Same;
    let is_same = same_string(strace, ktape)
        || structs::same(strace_in, ktape, &same_word)
        || structs::same(strace_out, ktape, &same_word);
    if is_same { Verdict::Same } else { Verdict::Different }
}

/// What it means that ktape shows `_` where strace shows this.
fn not_recorded(call: &str, strace: &str) -> Verdict {
    match number(strace) {
        _ if strace == "NULL" => Verdict::Address,
        Some(number) if number > u64::from(u16::MAX) => Verdict::Address,
        _ if strace.starts_with('"') || strace.starts_with('[') && call.starts_with("getdents") => {
            Verdict::Content
        }
        None if !strace.starts_with(['{', '[', '~']) => Verdict::Different,
        _ => Verdict::NotRecorded,
    }
}

/// Names and numbers that are joined by `|`, in any order, without those that stand for 0.
fn words(call: &str, text: &str) -> BTreeSet<String> {
    let word = |word: &str| match (number(word), word) {
        (Some(0), _) | (None, "NULL" | "AT_STATX_SYNC_AS_STAT") => None,
        // The access mode of a file cannot be set.
        (None, "O_RDONLY") if call.starts_with("fcntl") => None,
        // strace shows a negative number of 32 bits without its sign, where it does not know the names of values.
        (Some(number), _) if number as u32 as i32 as i64 as u64 == number => {
            Some((number as u32).to_string())
        }
        (Some(number), _) => Some(number.to_string()),
        (None, word) => Some(real_time_signal(word).map_or_else(|| word.to_owned(), |n| n.to_string())),
    };
    // `1<<CAP_KILL`: the bit of that number.
    text.split('|').filter_map(|part| word(part.trim().trim_start_matches("1<<"))).collect()
}

/// The number of a real-time signal: strace counts from the kernel's first one, `kill -l` from that of the C library.
fn real_time_signal(name: &str) -> Option<i64> {
    let (first, offset) = match name.strip_prefix("SIGRT")? {
        "MIN" => (34, "0"),
        "MAX" => (64, "0"),
        rest => match (rest.strip_prefix('_'), rest.strip_prefix("MIN"), rest.strip_prefix("MAX")) {
            (Some(offset), ..) => (32, offset),
            (_, Some(offset), _) => (34, offset),
            (.., Some(offset)) => (64, offset),
            _ => return None,
        },
    };
    Some(first + offset.parse::<i64>().ok()?)
}

/// A socket address as ktape writes it, from strace's `{sa_family=AF_INET, ...}`.
pub(super) fn address(text: &str) -> Option<String> {
    let member = |name: &str| {
        let rest = &text[text.find(&format!("{name}="))? + name.len() + 1..];
        Some(rest.split([',', '}']).next()?.trim())
    };
    let port = |name: &str| member(name)?.strip_prefix("htons(")?.strip_suffix(')');
    let quoted = |from: &str| {
        let rest = &text[text.find(from)? + from.len()..];
        Some(rest.split('"').nth(1)?.to_owned())
    };
    match member("{sa_family")? {
        "AF_INET" => Some(format!("{}:{}", quoted("inet_addr(")?, port("sin_port")?)),
        "AF_INET6" => {
            // `inet_pton(AF_INET6, "::1", &sin6_addr)`
            Some(format!("[{}]:{}", quoted("inet_pton(AF_INET6,")?, port("sin6_port")?))
        }
        "AF_UNIX" if !text.contains("sun_path=") => Some("unix (unnamed)".to_owned()),
        "AF_UNIX" if text.contains("sun_path=@") => Some(format!("@\"{}\"", quoted("sun_path=@")?)),
        "AF_UNIX" => Some(format!("\"{}\"", quoted("sun_path=")?)),
        "AF_NETLINK" => {
            let groups = u32::from_str_radix(member("nl_groups")?.trim_start_matches("0x"), 16).ok()?;
            Some(format!("netlink pid={} groups={groups:#x}", member("nl_pid")?))
        }
        _ => None,
    }
}

/// Two strings or lists of strings whose bytes are the same: strace escapes in octal, and in other cases than ktape.
fn same_string(strace: &str, ktape: &str) -> bool {
    let is_text = |text: &str| text.starts_with(['"', '[', '@']);
    is_text(strace) && is_text(ktape) && unescaped(strace) == unescaped(ktape)
}

/// The bytes of a text in which some are escaped.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        if bytes[i] != b'\\' || i + 1 == bytes.len() {
            out.push(bytes[i]);
            i += 1;
            continue;
        }
        let rest = &bytes[i + 1..];
        let digits = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let (byte, taken) = match rest[0] {
            b'x' if rest.len() >= 3 && hex(&rest[1..3]).is_some() => (hex(&rest[1..3]).unwrap_or(0), 3),
            b'0'..=b'7' => {
                (rest[..digits].iter().fold(0u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')), digits)
            }
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'r' => (b'\r', 1),
            b'v' => (0x0b, 1),
            b'f' => (0x0c, 1),
            other => (other, 1),
        };
        out.push(byte);
        i += 1 + taken;
    }
    out
}
