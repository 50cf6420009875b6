use super::*;
use crate::fields::lookup;
use crate::syscalls::{self, Arch, ArgType, Meanings, Signature};

fn test(field: &str, op: &str, values: &[&str]) -> Result<Comparison, String> {
    let written = |v: &&str| Written { bytes: v.as_bytes().to_vec(), is_quoted: false, at: 0 };
    let values: Vec<Written> = values.iter().map(written).collect();
    let made = Comparison::new(lookup(field).unwrap(), Op::from_text(op).unwrap(), &values);
    made.map_err(|refusal| refusal.message)
}

fn text(field: &str, op: &str, literal: &str, value: &str) -> bool {
    test(field, op, &[literal]).unwrap().accepts(Value::Bytes(value.as_bytes()))
}

fn int(field: &str, op: &str, literal: &str, value: i128) -> bool {
    test(field, op, &[literal]).unwrap().accepts(Value::Int(value))
}

#[test]
fn text_operators() {
    assert!(text("proc.name", "=", "dd", "dd"));
    assert!(!text("proc.name", "=", "dd", "ddd"));
    assert!(text("proc.name", "!=", "dd", "ddd"));
    assert!(text("fd.name", "contains", "/etc", "/usr/etc/x"));
    assert!(!text("fd.name", "contains", "/ETC", "/usr/etc/x"));
    assert!(text("fd.name", "icontains", "/ETC", "/usr/etc/x"));
    assert!(text("fd.name", "startswith", "/usr", "/usr/etc/x"));
    assert!(text("fd.name", "endswith", "/x", "/usr/etc/x"));
    assert!(text("fd.name", "glob", "/usr/*/x", "/usr/etc/x"));
}

#[test]
fn number_operators_and_units() {
    assert!(int("proc.pid", "=", "0x10", 16));
    assert!(int("evt.latency", ">", "5ms", 5_000_001));
    assert!(!int("evt.latency", ">", "5ms", 5_000_000));
    assert!(int("evt.latency", ">=", "0", 0));
    assert!(int("evt.rawres", "<", "0", -2));
    assert!(int("evt.rawres", "<=", "-2", -2));
    assert!(int("evt.failed", "=", "TRUE", 1));
    assert!(int("net.sent", ">", "4KiB", 4097));
    assert!(!int("net.sent", ">", "4KiB", 4096));
    assert!(int("evt.reltime", "<", "-1ms", -1_000_001));
    assert!(!int("evt.reltime", "<", "-1ms", -1_000_000));
    assert!(int("container.memory.limit", ">=", "1GiB", 1 << 30));
    assert!(int("evt.failed", "!=", "true", 0));
    assert!(int("sample_host.load1", ">", "1.5", 177));
    assert!(!int("sample_host.load1", ">", "2", 177));
    assert!(int("sample_host.load1", "=", "1.77", 177));
}

#[test]
fn a_missing_value_only_passes_not_equal() {
    assert!(!test("container.name", "=", &["x"]).unwrap().accepts(Value::Missing));
    assert!(test("container.name", "!=", &["x"]).unwrap().accepts(Value::Missing));
    assert!(!test("container.name", "exists", &[]).unwrap().accepts(Value::Missing));
    assert!(test("container.name", "exists", &[]).unwrap().accepts(Value::Bytes(b"")));
    assert!(!test("evt.rawres", "<", &["0"]).unwrap().accepts(Value::Missing));
}

fn argument(field: &str, op: &str, literal: &str, value: Argument<'_>) -> bool {
    test(field, op, &[literal]).unwrap().finds_argument(value, &mut Vec::new())
}

#[test]
fn an_argument_compares_as_what_it_is() {
    let number = |value, ty| Argument::Number { value, ty: Some(ty), set: None };
    for (field, op, literal, value, expected) in [
        ("evt.arg.fd", "=", "3", number(3, ArgType::Fd), true),
        ("evt.arg.filename", "=", "3", Argument::Text(b"3"), true),
        ("evt.arg.fd", "startswith", "1", number(17, ArgType::Fd), true),
        ("evt.arg.sig", "=", "SIGKILL", number(9, ArgType::Signal), true),
        ("evt.arg.sig", "=", "9", number(9, ArgType::Signal), true),
        ("evt.arg.sig", "=", "RTMIN", number(34, ArgType::Signal), true),
        ("evt.arg[1]", "=", "kill", number(9, ArgType::Signal), true),
        ("evt.arg[1]", "=", "kill", number(9, ArgType::Int), false),
        ("evt.arg[1]", "=", "kill", Argument::Text(b"kill"), true),
        ("evt.arg.mode", "=", "0644", number(0o644, ArgType::Mode), true),
        ("evt.arg.mode", "=", "0o644", number(0o644, ArgType::Mode), true),
        ("evt.arg.mode", "=", "420", number(0o644, ArgType::Mode), true),
        ("evt.arg.uid", "=", "-1", number(u32::MAX.into(), ArgType::Uid), true),
        ("evt.arg.dfd", "=", "AT_FDCWD", number(-100, ArgType::Dirfd), true),
        ("evt.arg.dfd", "=", "-100", number(-100, ArgType::Dirfd), true),
        ("evt.arg.dfd", "exists", "", Argument::Missing, false),
        ("evt.arg.argv", "=", "sed -e s/a/b/", Argument::List(b"sed\0-e\0s/a/b/\0"), true),
        ("evt.arg.argv", "contains", "-e s/a", Argument::List(b"sed\0-e\0s/a/b/\0"), true),
        ("evt.arg.argv", "contains", "-x", Argument::List(b"sed\0-e\0s/a/b/\0"), false),
        ("evt.arg.uservaddr", "=", "/run/x", Argument::Address(b"\x01\0/run/x"), true),
        ("evt.arg.uservaddr", "=", "1.2.3.4:80", Argument::Address(b"\x02\0\0\x50\x01\x02\x03\x04"), true),
        ("evt.arg.uservaddr", "=", "1.0.0.0/8", Argument::Address(b"\x02\0\0\x50\x01\x02\x03\x04"), true),
        ("evt.arg.uservaddr", "=", "1.2.3.4:81", Argument::Address(b"\x02\0\0\x50\x01\x02\x03\x04"), false),
        ("evt.arg.uservaddr", "startswith", "1.2.", Argument::Address(b"\x02\0\0\x50\x01\x02\x03\x04"), true),
    ] {
        let literals: &[&str] = if op == "exists" { &[] } else { &[literal] };
        let found = test(field, op, literals).unwrap().finds_argument(value, &mut Vec::new());
        assert_eq!(found, expected, "{field} {op} {literal}");
    }
    assert!(!argument("evt.arg.nbytes", "=", "5", Argument::Missing));
    assert!(test("evt.arg.fd", "<", &["x"]).unwrap_err().contains("not a number"));
    assert!(test("evt.arg.fd", "=", &["stdin"]).unwrap_err().contains("not a number"));
    assert!(test("evt.arg.sig", "=", &["SIGKIL"]).unwrap_err().contains("did you mean SIGKILL?"));
}

#[test]
fn an_address_compares_whatever_its_spelling() {
    let mapped = b"\x0a\0\0\x50\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01";
    let plain = b"\x02\0\0\x50\x7f\0\0\x01";
    let finds = |field: &str, literal: &str, bytes: &[u8]| {
        test(field, "=", &[literal]).unwrap().finds_address(bytes, &mut Vec::new())
    };
    for bytes in [&mapped[..], plain] {
        for literal in ["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.0/8", "::ffff:7f00:0/104"] {
            assert!(finds("net.remote.ip", literal, bytes), "{literal}");
        }
        for literal in ["127.0.0.2", "::1", "::/0", "10.0.0.0/8"] {
            assert!(!finds("net.remote.ip", literal, bytes), "{literal}");
        }
        for (literal, expected) in [
            ("127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:81", false),
            ("127.0.0.1", true),
        ] {
            assert_eq!(finds("net.remote", literal, bytes), expected, "{literal}");
            assert_eq!(finds("fd.name", literal, bytes), expected, "{literal}");
        }
    }
    assert!(!finds("net.remote.ip", "127.0.0.1", b""));
    assert!(finds("fd.name", "/run/x", b"\x01\0/run/x"));
}

#[test]
fn names_compare_as_the_numbers_that_they_stand_for() {
    for (field, literal, value) in [
        ("signal.signal", "SIGKILL", 9),
        ("signal.signal", "kill", 9),
        ("signal.signal", "9", 9),
        ("exit.signal", "SIGRTMIN+2", 36),
        ("exit.signal", "SIGRTMAX", 64),
        ("evt.res", "ENOENT", 2),
        ("evt.res", "enoent", 2),
        ("evt.res", "2", 2),
        ("evt.res", "-2", 2),
        ("evt.res", "EWOULDBLOCK", 11),
        ("evt.res", "SUCCESS", 0),
        ("evt.res", "0", 0),
        ("block.error", "EIO", 5),
    ] {
        assert!(int(field, "=", literal, value), "{field} = {literal}");
        assert!(!int(field, "=", literal, value + 1), "{field} = {literal}");
    }
    assert!(text("evt.res", "startswith", "EN", "ENOENT"));
    assert!(text("net.new", "=", "established", "ESTABLISHED"));
    assert!(text("block.rq_flags", "=", "META|sync", "sync|meta"));
}

#[test]
fn a_value_that_cannot_exist_is_refused() {
    for (field, literal, part) in [
        ("net.remote.ip", "127.0.0.300", "not an IP address"),
        ("net.remote.ip", "localhost", "not an IP address"),
        ("net.remote.ip", "10.0.0.0/33", "from 0 to 32"),
        ("net.remote", "10.0.0.5:70000", "not a socket address"),
        ("net.remote", "2001:db8::5:443", "write [2001:db8::5:443] or [2001:db8::5]:443"),
        ("net.remote.port", "70000", "from 0 to 65535"),
        ("signal.signal", "SIGKIL", "did you mean SIGKILL?"),
        ("signal.signal", "kil", "did you mean SIGKILL?"),
        ("exit.signal", "65", "not a signal"),
        ("evt.res", "ENOENTT", "did you mean ENOENT?"),
        ("evt.res", "5000", "not the name or number of an error"),
        ("evt.res", "SUCESS", "did you mean SUCCESS?"),
        ("block.error", "SUCCESS", "not the name or number of an error"),
        ("syscall.abi", "i387", "did you mean i386?); there are native, i386, x32"),
        ("net.new", "ESTABLISHD", "did you mean ESTABLISHED?"),
        ("net.role", "peer", "there are client, server, listener, unknown"),
        ("switch.state", "U", "there are R, S, D, T"),
        ("block.op", "raed", "did you mean read?"),
        ("block.rq_flags", "sync|mtea", "did you mean meta?"),
        ("loss.stage", "rnig", "did you mean ring?"),
        ("container.type", "dokcer", "did you mean docker?"),
        ("signal.cause", "tkil", "did you mean tkill?"),
        ("signal.result", "deliverd", "did you mean delivered?"),
        ("stall.phase", "sleep", "did you mean asleep?"),
        ("stall.dev_from", "df", "there are fd, writeback"),
        ("oom.scope", "cgrup", "did you mean cgroup?"),
        ("block.owner_kind", "boi", "did you mean bio?"),
        ("evt.dir", ">", "it is always `<`"),
        ("evt.latency", "5x", "duration"),
        ("proc.pid", "-5", "never negative"),
        ("evt.time", "5", "not a time"),
        ("net.sent", "1XB", "not a size"),
        ("sample_host.load1", "1.775", "not a number with at most two decimals"),
        ("sample_host.load1", "high", "not a number with at most two decimals"),
    ] {
        let error = test(field, "=", &[literal]).unwrap_err();
        assert!(error.contains(part), "{field} = {literal}: {error}");
        assert_eq!(test(field, "!=", &[literal]).unwrap_err(), error);
        assert_eq!(test(field, "in", &[literal]).unwrap_err(), error);
    }
    // Text operators compare the text that is shown, whatever it may be.
    assert!(test("signal.signal", "startswith", &["SIGRT"]).is_ok());
    assert!(test("net.remote.ip", "glob", &["10.*"]).is_ok());
}

#[test]
fn a_container_is_found_by_prefix() {
    assert!(text("container.id", "=", "3f2", "3f2ab0c1d2e3"));
    assert!(!text("container.id", "=", "h", "host"));
    assert!(text("container.id", "=", "host", "host"));
    assert!(text("container.id", "!=", "3f3", "3f2ab0c1d2e3"));
    assert!(!text("container.full_id", "=", "3f2", "3f2ab0c1d2e3"));
}

#[test]
fn operators_that_do_not_fit_are_refused() {
    assert!(test("proc.name", "<", &["5"]).unwrap_err().contains("need a number"));
    assert!(test("proc.pid", "contains", &["5"]).unwrap_err().contains("needs a text field"));
    assert!(test("net.remote.ip", ">", &["::1"]).unwrap_err().contains("need a number"));
    assert!(test("proc.pid", "=", &["abc"]).unwrap_err().contains("not a number"));
    assert!(test("evt.latency", ">", &["5 ms"]).unwrap_err().contains("not a duration"));
    assert!(test("evt.failed", "=", &["maybe"]).unwrap_err().contains("neither"));
    assert!(test("evt.time", ">", &["noon"]).unwrap_err().contains("not a time"));
}

#[test]
fn times_are_resolved_against_the_capture() {
    let span = Span { start: 1_000, end: Some(20_000_000_000), zone: jiff::tz::TimeZone::UTC };
    let mut test = test("evt.time", ">=", &["-10s"]).unwrap();
    test.resolve(&span).unwrap();
    assert!(test.accepts(Value::Int(10_000_000_000)));
    assert!(!test.accepts(Value::Int(9_999_999_999)));
}

#[test]
fn values_of_arguments_have_names() {
    let flags = value_set("openat", 2);
    let option = value_set("prctl", 0);
    let number = |value, ty, set| Argument::Number { value, ty: Some(ty), set: Some(set) };
    let open = |value| number(value, ArgType::Flags, flags);
    let prctl = |value| number(value, ArgType::Command, option);
    for (field, op, literal, value, expected) in [
        ("evt.arg.flags", "has", "O_CREAT", open(0o101), true),
        ("evt.arg.flags", "has", "O_CREAT|O_WRONLY", open(0o101), true),
        ("evt.arg.flags", "has", "O_CREAT|O_EXCL", open(0o101), false),
        ("evt.arg.flags", "has", "O_RDONLY", open(0o101), false),
        ("evt.arg.flags", "has", "O_RDONLY", open(0o100), true),
        ("evt.arg.flags", "has", "0x40", open(0o101), true),
        ("evt.arg.flags", "=", "O_WRONLY|O_CREAT", open(0o101), true),
        ("evt.arg.flags", "=", "O_CREAT", open(0o101), false),
        ("evt.arg.flags", "=", "0x41", open(0o101), true),
        ("evt.arg.flags", "contains", "O_CREAT", open(0o101), true),
        ("evt.arg.option", "=", "PR_SET_NAME", prctl(15), true),
        ("evt.arg.option", "=", "pr_set_name", prctl(15), true),
        ("evt.arg.option", "=", "PR_SET_NAME", prctl(16), false),
        ("evt.arg.option", "startswith", "PR_SET_", prctl(15), true),
        ("evt.arg[0]", "=", "PR_SET_NAME", prctl(15), true),
        ("evt.rawarg.flags", "<", "66", open(0o101), true),
    ] {
        assert_eq!(argument(field, op, literal, value), expected, "{field} {op} {literal}");
    }
    for (field, op, literal, message) in [
        (
            "evt.arg.option",
            "=",
            "PR_SET_NAMES",
            "`PR_SET_NAMES` is not a value of `option` (did you mean PR_SET_NAME?)",
        ),
        ("evt.arg.flags", "has", "O_CREATE", "`O_CREATE` is not a value of `flags` (did you mean O_CREAT?)"),
        ("proc.pid", "has", "1", "`has` needs flags, such as evt.arg.flags, but this field has type number"),
    ] {
        assert_eq!(test(field, op, &[literal]).unwrap_err(), message);
    }
}

fn value_set(call: &str, position: usize) -> &'static ValueSet {
    let call = syscalls::table().iter().find(|known| known.name == call).unwrap();
    Meanings::new(&Signature::from(call), Arch::X86_64).all_sets(position).next().unwrap()
}

#[test]
fn elements_of_a_list_are_compared_each() {
    let list = Argument::List(b"sed\0-e\0s/a/b/ -x\0");
    for (literals, expected) in
        [(&["-e"][..], true), (&["x", "sed"], true), (&["-x"], false), (&["sed -e s/a/b/ -x"], false)]
    {
        let comparison = test("evt.arg.argv", "intersects", literals).unwrap().by_element();
        assert_eq!(comparison.finds_argument(list, &mut Vec::new()), expected, "{literals:?}");
    }
    let comparison = test("evt.arg.fd", "intersects", &["3", "4"]).unwrap().by_element();
    let number = |value| Argument::Number { value, ty: Some(ArgType::Fd), set: None };
    assert!(comparison.finds_argument(number(4), &mut Vec::new()));
    assert!(!comparison.finds_argument(number(5), &mut Vec::new()));
}

#[test]
fn modifiers_apply_to_every_type() {
    let quantified = |field: &str, modifier, literals: &[&str]| {
        test(field, "=", literals).unwrap().quantified(modifier, false)
    };
    let address = b"\x02\0\0\x50\x0a\0\0\x01";
    for (modifier, literals, expected) in [
        (Quantifier::Any, ["10.0.0.0/8", "::1"], true),
        (Quantifier::All, ["10.0.0.0/8", "::1"], false),
        (Quantifier::All, ["10.0.0.0/8", "10.0.0.1"], true),
        (Quantifier::One, ["10.0.0.0/8", "10.0.0.1"], false),
        (Quantifier::One, ["10.0.0.0/8", "::1"], true),
    ] {
        let comparison = quantified("net.remote.ip", modifier, &literals);
        assert_eq!(comparison.finds_address(address, &mut Vec::new()), expected, "{modifier:?} {literals:?}");
    }
    assert!(quantified("signal.signal", Quantifier::All, &["KILL", "9"]).accepts(Value::Int(9)));
    assert!(!quantified("signal.signal", Quantifier::One, &["KILL", "9"]).accepts(Value::Int(9)));
    assert!(!quantified("evt.res", Quantifier::All, &["ENOENT"]).accepts(Value::Missing));
    // A literal that is no number for a type of argument does not fit.
    let argument = Argument::Number { value: 9, ty: Some(ArgType::Int), set: None };
    let all = quantified("evt.arg[1]", Quantifier::All, &["9", "kill"]);
    assert!(!all.finds_argument(argument, &mut Vec::new()));
}
