use super::*;
use crate::syscalls::table;

fn positions(text: &str) -> Vec<u8> {
    Signature::parse(text).unwrap().string_positions().to_vec()
}

#[test]
fn a_signature_parses_into_names_and_types() {
    let signature =
        Signature::parse("openat(dfd:dirfd, filename:path, flags:open_flags, mode:mode)").unwrap();
    assert_eq!(signature.name, "openat");
    let args: Vec<_> = signature.args.iter().map(|a| (&*a.name, &*a.tag, a.ty)).collect();
    assert_eq!(
        args,
        [
            ("dfd", "dirfd", ArgType::Dirfd),
            ("filename", "path", ArgType::Path),
            ("flags", "open_flags", ArgType::Flags),
            ("mode", "mode", ArgType::Mode),
        ]
    );
}

#[test]
fn every_call_of_the_table_round_trips() {
    let mut calls = 0;
    for call in table().iter() {
        let text = call.signature();
        let parsed = Signature::parse(&text).unwrap();
        assert_eq!(parsed, Signature::from(call));
        assert_eq!(parsed.to_string(), text);
        calls += 1;
    }
    assert!(calls > 1100, "{calls} calls");
}

#[test]
fn hostile_text_is_refused() {
    for text in
        ["", "open", "open(", "open)", "(a:int)", "o pen()", "o(a)", "o(a:)", "o(:int)", "o(a:int,)", "o()x"]
    {
        assert!(Signature::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(
        Signature::parse("o(a:int,b:int,c:int,d:int,e:int,f:int,g:int)"),
        Err(SignatureError::TooMany(7))
    );
    assert_eq!(Signature::parse(&"a".repeat(2000)), Err(SignatureError::TooLong(2000)));
}

#[test]
fn at_most_three_strings_paths_first() {
    assert!(positions("read(fd:fd, buf:ptr, count:size)").is_empty());
    assert_eq!(positions("openat(dfd:dirfd, filename:path)"), [1]);
    assert_eq!(positions("mount(dev_name:path, dir_name:path, type:string)"), [0, 1, 2]);
    assert_eq!(positions("x(a:path, b:path, c:path)"), [0, 1]);
    assert_eq!(positions("x(a:string, b:string, c:path)"), [0, 2]);
    assert_eq!(positions("x(a:string, b:string, c:string)"), [0, 1, 2]);
    assert_eq!(positions("x(a:open_how_in, b:path)"), [0, 1]);
    assert_eq!(positions("x(a:open_how_in, b:path, c:string)"), [1, 2]);
    assert_eq!(positions("x(a:fd_set_in, b:fd_set_in, c:timeval_in, d:string)"), [0, 3]);
    assert_eq!(positions("execve(filename:path, argv:argv, envp:ptr)"), [0, 1]);
    // As captures have it whose programs' arguments are in their exec events alone.
    assert_eq!(positions("execve(filename:path, argv:ptr, envp:ptr)"), [0]);
    assert_eq!(positions("x(a:path, b:sockaddr, c:uint, d:path)"), [0, 1]);
}

#[test]
fn what_is_only_filled_in_is_behind_what_is_given() {
    let positions = |signature: &str| Signature::parse(signature).unwrap().string_positions().to_vec();
    assert_eq!(positions("wait(a:int, filled:fds_out, given:sigset_in)"), [2, 1]);
    assert_eq!(positions("wait(filled:fds_out, other:fds_out, given:sigset_in)"), [0, 1]);
    assert_eq!(positions("stat(name:path, filled:stat_out)"), [0, 1]);
    assert_eq!(positions("poll(both:pollfd_inout, given:timespec_in)"), [0, 1]);
}
