use super::*;

#[test]
fn numbers_have_names_and_names_numbers() {
    for (number, name) in [
        (1, "EPERM"),
        (2, "ENOENT"),
        (11, "EAGAIN"),
        (35, "EDEADLK"),
        (40, "ELOOP"),
        (42, "ENOMSG"),
        (95, "EOPNOTSUPP"),
        (110, "ETIMEDOUT"),
        (115, "EINPROGRESS"),
        (133, "EHWPOISON"),
        (512, "ERESTARTSYS"),
        (513, "ERESTARTNOINTR"),
        (514, "ERESTARTNOHAND"),
        (515, "ENOIOCTLCMD"),
        (516, "ERESTART_RESTARTBLOCK"),
        (524, "ENOTSUPP"),
    ] {
        assert_eq!(errno_name(number), Some(name));
        assert_eq!(errno_number(name), Some(number));
    }
    for number in [0, 41, 58, 134, 511, 520, 4096, u32::MAX] {
        assert_eq!(errno_name(number), None, "{number}");
    }
    assert_eq!(errno_number("enoent"), Some(2));
    assert_eq!(errno_number("EWOULDBLOCK"), Some(11));
    assert_eq!(errno_number("SUCCESS"), None);
}

#[test]
fn the_table_is_sorted() {
    assert!(ERRNOS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(ERRNOS.iter().filter(|&&(number, _)| number <= 133).count(), 131);
}

#[test]
fn numbers_are_those_of_the_system() {
    for (name, number) in [
        ("EPERM", libc::EPERM),
        ("ENOSYS", libc::ENOSYS),
        ("EUNATCH", libc::EUNATCH),
        ("EBADRQC", libc::EBADRQC),
        ("EBFONT", libc::EBFONT),
        ("ENOTUNIQ", libc::ENOTUNIQ),
        ("EUSERS", libc::EUSERS),
        ("ESHUTDOWN", libc::ESHUTDOWN),
        ("EDQUOT", libc::EDQUOT),
        ("ERFKILL", libc::ERFKILL),
    ] {
        assert_eq!(errno_number(name), u32::try_from(number).ok(), "{name}");
    }
}
