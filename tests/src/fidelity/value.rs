//! Whether two texts stand for the same value.

use std::borrow::Cow;
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
    /// The same of an address as such: there is nothing behind it, or only one of both shows it.
    Address,
    /// One of both has no names for some bits that the other one has names for.
    Nameless,
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
        // It shows one offset, which is in two registers.
        "preadv2" | "pwritev2" => {
            args.iter().enumerate().map(|(i, arg)| (if i == 4 { 5 } else { i }, arg.as_str())).collect()
        }
        // It leaves the identifier out where the command uses none.
        "quotactl" | "quotactl_fd" if args.len() < 4 => {
            args.iter().take(2).map(String::as_str).enumerate().collect()
        }
        _ => plain(),
    }
}

/// Compares an argument in strace's log with that of ktape.
pub(super) fn same(call: &str, strace: &str, ktape: &str) -> Verdict {
    // `[] => [...]` and the like: before and after the call.
    let (strace_in, strace_out) = strace.split_once(" => ").unwrap_or((strace, strace));
    let ktape = ktape.strip_suffix('~').unwrap_or(ktape);
    // ktape has one of the two: `[256 => 16]` and `[16]`.
    let is_counted =
        |text: &str| ktape == text || text.trim_matches(['[', ']']) == ktape.trim_matches(['[', ']']);
    if strace.contains(" => ") && strace.len() < 32 && (is_counted(strace_in) || is_counted(strace_out)) {
        return Verdict::Same;
    }
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
    // What the call was given, although it failed; or that it cannot be read.
    let is_target = |address: u64| address > u64::from(u16::MAX) && ktape.starts_with(['"', '{', '[', '~']);
    if number(strace).is_some_and(|address| is_target(address) || address > 0 && ktape == "?") {
        return Verdict::Address;
    }
    let (theirs, ours) = (words(call, strace), words(call, ktape));
    if theirs == ours || address(strace).is_some_and(|address| address == ktape) {
        return Verdict::Same;
    }
    if are_same_bits(&theirs, &ours) {
        return Verdict::Nameless;
    }
    let same_word = |their: &str, our: &str| same(call, their, our) == Verdict::Same;
    let is_same = same_string(strace, ktape)
        || same_nodes(strace, ktape)
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
        (Some(0), _) | (None, "NULL" | "AT_STATX_SYNC_AS_STAT" | "MAP_FILE") => None,
        // The access mode of a file cannot be set.
        (None, "O_RDONLY") if call.starts_with("fcntl") => None,
        // strace shows a negative number of 32 bits without its sign, where it does not know the names of values.
        (Some(number), _) if number as u32 as i32 as i64 as u64 == number => {
            Some((number as u32).to_string())
        }
        (Some(number), _) => Some(number.to_string()),
        (None, word) => {
            let huge = huge_pages(word).map(|exponent| format!("{exponent}<<HUGE_SHIFT"));
            let signal = || real_time_signal(word).map(|n| n.to_string());
            Some(huge.or_else(signal).unwrap_or_else(|| other_name(word).to_owned()))
        }
    };
    let text = plain(text);
    // `1<<CAP_KILL`: the bit of that number.
    text.split('|').filter_map(|part| word(part.trim().trim_start_matches("1<<"))).collect()
}

/// What strace writes as macros, without them: `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7)` is `IOPRIO_CLASS_BE|7`.
fn plain(text: &str) -> Cow<'_, str> {
    let inner = |name: &str| text.strip_prefix(name)?.strip_suffix(')');
    if let Some(parts) = inner("IOPRIO_PRIO_VALUE(").or_else(|| inner("QCMD(")) {
        return parts.replace(", ", "|").into();
    }
    if let Some(parts) = inner("_IOC(") {
        let direction = |name: &str| match name {
            "_IOC_WRITE" => 1,
            "_IOC_READ" => 2,
            _ => 0,
        };
        let parts: Vec<&str> = parts.split(", ").collect();
        if let [way, kind, nr, size] = parts[..]
            && let [Some(kind), Some(nr), Some(size)] = [kind, nr, size].map(number)
        {
            let way = way.split('|').fold(0, |bits, name| bits | direction(name));
            return (way << 30 | size << 16 | kind << 8 | nr).to_string().into();
        }
    }
    inner("htons(").map_or(text, |name| name).into()
}

/// Of a size of pages: its logarithm. strace writes `21<<SHM_HUGE_SHIFT` for `SHM_HUGE_2MB`.
fn huge_pages(word: &str) -> Option<u32> {
    if let Some((exponent, shift)) = word.split_once("<<") {
        return shift.ends_with("_HUGE_SHIFT").then(|| exponent.parse().ok())?;
    }
    let (_, size) = word.split_once("_HUGE_")?;
    let (size, unit) = size.split_at_checked(size.len().checked_sub(2)?)?;
    let unit = match unit {
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    Some(size.parse::<u32>().ok()?.checked_ilog2()? + unit)
}

/// The name that ktape has where strace has another one of the same number.
fn other_name(word: &str) -> &str {
    match word {
        "WSTOPPED" => "WUNTRACED",
        "FASYNC" => "O_ASYNC",
        "SCHED_OTHER" => "SCHED_NORMAL",
        "PR_SYS_DISPATCH_ON" => "PR_SYS_DISPATCH_EXCLUSIVE_ON",
        "SIOCGSTAMP_OLD" => "SIOCGSTAMP",
        "SIOCGSTAMPNS_OLD" => "SIOCGSTAMPNS",
        word => word,
    }
}

/// Whether what only one of both has may be the same bits: one of them has a number where the other one has names. Their
/// numbers of bits are compared, as each name is that of one bit; a lone number is that of a lone name.
fn are_same_bits(theirs: &BTreeSet<String>, ours: &BTreeSet<String>) -> bool {
    // The number is 0, of which `words` has nothing.
    let is_zero = theirs.is_empty() && ours.len() == 1;
    let (theirs, ours): (Vec<_>, Vec<_>) =
        (theirs.difference(ours).collect(), ours.difference(theirs).collect());
    let value = |word: &String| word.parse::<u64>().ok();
    let bits = |words: &[&String]| {
        words.iter().map(|word| value(word).map_or(1, |value| (value as u32).count_ones())).sum::<u32>()
    };
    match (&theirs[..], &ours[..]) {
        ([], [our]) => is_zero && value(our).is_none(),
        ([their], [our]) => value(their).is_some() && value(our).is_none(),
        (theirs, ours) => {
            let has_number = theirs.iter().chain(ours).any(|word| value(word).is_some());
            has_number && !ours.is_empty() && bits(theirs) == bits(ours)
        }
    }
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
        "AF_UNSPEC" => Some("unspec".to_owned()),
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

/// A set of memory nodes, which strace writes as words, `[0x00000000000005, 0000000000000000]`, and ktape as what is in it, `[0 2]`.
fn same_nodes(strace: &str, ktape: &str) -> bool {
    let (Some(theirs), Some(ours)) =
        (strace.strip_prefix('['), ktape.strip_prefix('[').and_then(|ours| ours.split(']').next()))
    else {
        return false;
    };
    let word = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let all = theirs.trim_end_matches(']').trim_end().trim_end_matches("...").trim_end_matches(", ");
    let words: Option<Vec<u64>> = all.split(", ").map(word).collect();
    let Some(words) = words.filter(|_| theirs.len() > 14) else { return false };
    let has = |bit: u64| words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1);
    // ktape has the first 512 bytes.
    let is_cut = ours.ends_with("...");
    let last = if is_cut { 512 * 8 } else { 64 * words.len() as u64 };
    let expected: Vec<String> = (0..last).filter(|bit| has(*bit)).map(|bit| bit.to_string()).collect();
    ours.trim_end_matches("...").split_whitespace().eq(expected.iter())
}

/// Two strings or lists of strings whose bytes are the same: strace escapes in octal, and in other cases than ktape.
fn same_string(strace: &str, ktape: &str) -> bool {
    let is_text = |text: &str| text.starts_with(['"', '[', '@']);
    if !is_text(strace) || !is_text(ktape) {
        return false;
    }
    // ktape has the beginning of a long one.
    let whole = strace.strip_suffix("...").unwrap_or(strace);
    match ktape.strip_suffix("\"...") {
        Some(ours) => {
            let (theirs, ours) = (unescaped(whole.trim_end_matches('"')), unescaped(ours));
            theirs.starts_with(&ours) || whole != strace && ours.starts_with(&theirs)
        }
        None => unescaped(whole) == unescaped(ktape),
    }
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
            b'e' => (0x1b, 1),
            other => (other, 1),
        };
        out.push(byte);
        i += 1 + taken;
    }
    out
}
