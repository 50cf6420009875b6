use super::*;

#[test]
fn every_signal_round_trips() {
    for signal in 1..=64 {
        assert_eq!(signal_number(&signal_name(signal)), Some(signal), "{}", signal_name(signal));
    }
}

#[test]
fn names() {
    for (signal, name) in [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGCHLD, "SIGCHLD"),
        (libc::SIGSTOP, "SIGSTOP"),
        (libc::SIGWINCH, "SIGWINCH"),
        (libc::SIGSYS, "SIGSYS"),
        (32, "32"),
        (33, "33"),
        (34, "SIGRTMIN"),
        (36, "SIGRTMIN+2"),
        (49, "SIGRTMIN+15"),
        (50, "SIGRTMAX-14"),
        (63, "SIGRTMAX-1"),
        (64, "SIGRTMAX"),
        (0, "0"),
        (65, "65"),
    ] {
        assert_eq!(signal_name(signal as u32), name);
    }
}

#[test]
fn real_time_signals_are_those_of_the_c_library() {
    assert_eq!(signal_number("SIGRTMIN"), u32::try_from(libc::SIGRTMIN()).ok());
    assert_eq!(signal_number("SIGRTMAX"), u32::try_from(libc::SIGRTMAX()).ok());
}

#[test]
fn numbers() {
    for (name, number) in [
        ("kill", Some(9)),
        ("sigterm", Some(15)),
        ("SIGIOT", Some(6)),
        ("SIGRTMAX", Some(64)),
        ("SIGRTMAX-1", Some(63)),
        ("SIGRTMIN", Some(34)),
        ("RTMIN+3", Some(37)),
        ("SIGRTMIN+30", Some(64)),
        ("SIGRTMAX-30", Some(34)),
        ("9", Some(9)),
        ("0", None),
        ("65", None),
        ("SIGRTMIN+31", None),
        ("SIGRTMIN++3", None),
        ("SIGRTMAX-31", None),
        ("SIGRTMAX-99", None),
        ("SIGSIGKILL", None),
        ("", None),
        ("SIG", None),
    ] {
        assert_eq!(signal_number(name), number, "{name}");
    }
}
