use super::{Recorded, UNKNOWN, file, with_paths};
use crate::model::testing::{TestCall, call};

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn with(name: &'static str, args: &[u64], strs: Vec<Vec<u8>>, ret: i64) -> Recorded<'static> {
    Recorded::new(TestCall { strs, ..call(name, args, ret) })
}

#[test]
fn members_of_structures_are_fields() {
    let how = words(&[0o101, 0o640, 8]);
    let openat2 = with("openat2", &[3, 1, 1, 24], vec![b"x".to_vec(), how], 4);
    openat2.has(&[
        ("evt.arg.how", "{flags=O_WRONLY|O_CREAT, mode=0640, resolve=RESOLVE_BENEATH}"),
        ("evt.arg.how.flags", "O_WRONLY|O_CREAT"),
        ("evt.rawarg.how.flags", "65"),
        ("evt.arg.how.mode", "416"),
        ("evt.is_open_write", "1"),
        ("evt.is_open_read", "0"),
        ("evt.arg.how.nothing", "-"),
    ]);
    openat2.finds(&[
        ("evt.arg.how.flags has O_CREAT", true),
        ("evt.arg.how.flags has O_TRUNC", false),
        ("evt.arg.how.flags = 'O_WRONLY|O_CREAT'", true),
        ("evt.arg.how.mode = 0640", true),
        ("evt.arg.how.resolve = RESOLVE_BENEATH", true),
        ("evt.arg.how contains O_CREAT", true),
        ("evt.arg.filename = x", true),
    ]);
    let failed = with("wait4", &[7, 1, 1], vec![Vec::new()], 0);
    failed.has(&[("evt.arg.stat_addr", "-")]);
    failed.finds(&[("evt.arg.stat_addr exists", false)]);
}

#[test]
fn of_an_array_any_element_will_do() {
    let polled = words(&[1 << 32 | 3, 1 << 48 | 4 << 32 | 5]);
    let poll = with("poll", &[1, 2, 1000], vec![polled], 1);
    poll.has(&[("evt.arg.ufds.fd", "3 5"), ("evt.arg.ufds.events", "POLLIN POLLOUT")]);
    poll.finds(&[
        ("evt.arg.ufds.fd = 5", true),
        ("evt.arg.ufds.fd in (4, 6)", false),
        ("evt.arg.ufds.fd > 4", true),
        ("evt.arg.ufds.revents has POLLIN", true),
        ("evt.arg.ufds.revents has POLLHUP", false),
    ]);
}

#[test]
fn a_pair_of_descriptors_has_two_files() {
    let pipe = with("pipe2", &[1, 0], vec![words(&[7 << 32 | 4])], 0);
    let pipe = pipe.with(file("pipe", "pipe:[4711]"), file("file", "/other"));
    pipe.has(&[
        ("fd.num", "4"),
        ("evt.arg.fildes", "[4, 7]"),
        ("evt.args", "[4<pipe:[4711]>, 7</other>], 0"),
    ]);
    pipe.finds(&[
        ("evt.arg.fildes = 7", true),
        ("evt.arg.fildes = 5", false),
        ("fd.name = pipe:[4711]", true),
        ("fd.name = /other", true),
    ]);
}

#[test]
fn each_message_has_its_address() {
    let v4 = |last: u8| [&[16, 2, 0, 0, 53, 10, 0, 0, last][..], &[0; 8]].concat();
    let addresses = [v4(1), vec![0], v4(3)].concat();
    let send = with("sendmmsg", &[3, 1, 3, 0], vec![addresses], 3);
    let socket = crate::model::testing::TestFile { proto: "udp", ..file("ipv4", "") };
    let send = send.with(socket, UNKNOWN);
    send.has(&[
        ("evt.arg.mmsg", "[10.0.0.1:53, _, 10.0.0.3:53]"),
        ("fd.name", "10.0.0.1:53"),
        ("fd.rip", "10.0.0.1"),
    ]);
    send.finds(&[
        ("fd.name = 10.0.0.3:53", true),
        ("fd.name = 10.0.0.2:53", false),
        ("fd.rip = 10.0.0.3", true),
        ("fd.ip = 10.0.0.2", false),
        ("evt.arg.mmsg = 10.0.0.3:53", true),
        ("evt.arg.mmsg = 10.0.0.0/8", true),
        ("evt.arg.mmsg = 10.0.0.2", false),
    ]);
}

#[test]
fn arguments_have_the_names_that_falco_has_for_them() {
    let rename = with_paths("rename", &[1, 1], &["a", "b"], 0);
    rename.has(&[("evt.arg.oldpath", "a"), ("evt.arg.newpath", "b")]);
    rename.finds(&[("evt.arg.oldpath = a", true), ("evt.arg.newpath = a", false)]);
    let socket = Recorded::new(call("socket", &[2, 1, 0], 3));
    socket.finds(&[("evt.arg.domain = AF_INET", true), ("evt.arg.domain = AF_UNIX", false)]);
}
