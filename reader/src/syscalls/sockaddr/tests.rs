use super::*;

fn text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    format(bytes, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn inet() {
    let bytes = [2, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(text(&bytes), "1.2.3.4:80");
    let address = SockAddr::parse(&bytes).unwrap();
    assert_eq!((address.family(), address.port()), (2, Some(80)));
    assert_eq!(address.ip(), Some("1.2.3.4".parse().unwrap()));
    assert_eq!(address.path(), None);
    assert_eq!(text(&bytes[..7]), "family 2");
}

#[test]
fn inet6() {
    let mut bytes = [0; 28];
    bytes[0] = 10;
    bytes[2..4].copy_from_slice(&8080_u16.to_be_bytes());
    bytes[23] = 1;
    assert_eq!(text(&bytes), "[::1]:8080");
    assert_eq!(text(&bytes[..24]), "[::1]:8080");
    assert_eq!(text(&bytes[..23]), "family 10");
    bytes[24] = 3;
    assert_eq!(text(&bytes), "[::1%3]:8080");
    assert_eq!(SockAddr::parse(&bytes).unwrap().family(), 10);
}

#[test]
fn unix() {
    assert_eq!(text(b"\x01\x00/run/x.sock\0garbage"), "/run/x.sock");
    assert_eq!(text(b"\x01\x00relative"), "relative");
    assert_eq!(text(b"\x01\x00\x00name"), "@name");
    assert_eq!(text(b"\x01\x00\x00a\x00b"), "@a\0b");
    assert_eq!(text(b"\x01\x00"), "unix (unnamed)");
    assert_eq!(SockAddr::parse(b"\x01\x00\x00name").unwrap().path(), Some(&b"name"[..]));
}

#[test]
fn others() {
    assert_eq!(text(&[16, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]), "netlink pid=7 groups=0x1");
    assert_eq!(text(&[17, 0, 8, 0, 2, 0, 0, 0]), "packet protocol=0x0800 ifindex=2");
    assert_eq!(text(&[40, 0, 0, 0, 0, 4, 0, 0, 2, 0, 0, 0]), "vsock 2:1024");
    assert_eq!(text(&[0, 0, 1, 2]), "unspec");
    assert_eq!(text(&[38, 0]), "family 38");
    assert_eq!(text(&[16, 0, 0, 0]), "family 16");
    assert_eq!(text(&[2]), "");
    assert_eq!(text(&[]), "");
}

#[test]
fn addresses_of_messages_have_their_length_before_them() {
    let stored = b"\x02ab\0\x01c\0\0";
    let found: Vec<&[u8]> = addresses(stored).collect();
    assert_eq!(found, [&b"ab"[..], b"", b"c", b"", b""]);
    assert_eq!(without_last_empty(stored), b"\x02ab\0\x01c");
    assert_eq!(without_last_empty(b"\0\0"), b"");
    // Cut off.
    assert_eq!(addresses(b"\x02ab\x09c").collect::<Vec<_>>(), [b"ab"]);
}
