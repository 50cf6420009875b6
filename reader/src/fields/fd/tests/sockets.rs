use super::{Recorded, UNKNOWN};
use crate::model::testing::{TestCall, TestFile, call};

/// `struct sockaddr_in`.
fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend(ip);
    bytes.extend([0; 8]);
    bytes
}

/// `struct sockaddr_in6` of `::1`.
fn v6(port: u16) -> Vec<u8> {
    let mut bytes = vec![10, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 19]);
    bytes.push(1);
    bytes.extend([0; 4]);
    bytes
}

fn socket<'a>(ty: &'a str, proto: &'a str, local: &'a [u8], remote: &'a [u8]) -> TestFile<'a> {
    TestFile { ty, proto, local, remote, ino: 4711, dev: u64::MAX, ..TestFile::default() }
}

#[test]
fn sockets_have_two_ends() {
    let (local, remote) = (v4([10, 0, 0, 7], 4711), v4([10, 0, 0, 2], 80));
    let tcp = socket("ipv4", "tcp", &local, &remote);
    let read = Recorded::new(call("read", &[5, 0, 512], 512)).with(tcp, UNKNOWN);
    read.has(&[
        ("fd.name", "10.0.0.7:4711->10.0.0.2:80"),
        ("fd.type", "ipv4"),
        ("fd.l4proto", "tcp"),
        ("fd.sockfamily", "ip"),
        ("fd.lip", "10.0.0.7"),
        ("fd.rip", "10.0.0.2"),
        ("fd.lport", "4711"),
        ("fd.rport", "80"),
        ("fd.ip", "10.0.0.7"),
        ("fd.port", "4711"),
        ("fd.dev", "-"),
        ("fd.directory", "-"),
        ("fd.filename", "-"),
        // Nothing proves who is the server.
        ("fd.cip", "-"),
        ("fd.sip", "-"),
        ("fd.sport", "-"),
        ("fd.is_server", "-"),
        ("fd.connected", "1"),
        ("fd.name_changed", "0"),
    ]);
    read.finds(&[
        ("fd.name = '10.0.0.7:4711->10.0.0.2:80'", true),
        ("fd.name = '10.0.0.2:80->10.0.0.7:4711'", true),
        ("fd.name = 10.0.0.2:80", true),
        ("fd.name = 10.0.0.7", true),
        ("fd.name = 10.0.0.0/24", true),
        ("fd.name = ::ffff:10.0.0.2", true),
        ("fd.name = 10.0.0.3", false),
        ("fd.name contains 0.7:47", true),
        ("fd.ip = 10.0.0.2", true),
        ("fd.ip = 10.0.0.7", true),
        ("fd.ip = 10.0.0.0/8", true),
        ("fd.ip in (1.2.3.4, 10.0.0.2)", true),
        ("fd.ip = 10.0.0.3", false),
        ("fd.ip startswith 10.", true),
        ("fd.net = 10.0.0.0/29", true),
        ("fd.rnet = 10.0.0.4/30", false),
        ("fd.lnet = 10.0.0.4/30", true),
        ("fd.port = 80", true),
        ("fd.port = 4711", true),
        ("fd.port > 5000", false),
        ("fd.rport < 1024", true),
        ("fd.lport in (80, 443)", false),
        ("fd.snet = 0.0.0.0/0", false),
        ("fd.sockfamily = ip and fd.l4proto = tcp", true),
        ("fd.lip = val(fd.lip)", true),
        ("fd.lip = val(fd.rip)", false),
    ]);
    let listening = v6(80);
    let listener =
        Recorded::new(call("listen", &[3, 128], 0)).with(socket("ipv6", "tcp", &listening, &[]), UNKNOWN);
    listener.has(&[("fd.connected", "0"), ("fd.name_changed", "0")]);
    listener.has(&[("fd.name", "[::1]:80"), ("fd.lip", "::1"), ("fd.rip", "-"), ("fd.port", "80")]);
    let unbound = v4([0; 4], 0);
    let unbound =
        Recorded::new(call("listen", &[3, 128], 0)).with(socket("ipv4", "tcp", &unbound, &[]), UNKNOWN);
    unbound.has(&[("fd.name", "socket:[4711]"), ("fd.lip", "-"), ("fd.lport", "-")]);
    unbound.finds(&[("fd.ip exists", false), ("fd.name = 0.0.0.0", false)]);
}

#[test]
fn a_call_may_prove_who_is_the_server() {
    let (local, remote) = (v4([10, 0, 0, 7], 4711), v4([10, 0, 0, 2], 80));
    let given = |name: &'static str, args: &[u64], address: &[u8]| {
        Recorded::new(TestCall { strs: vec![address.to_vec()], ..call(name, args, 0) })
    };
    let connect = given("connect", &[5, 1, 16], &remote);
    connect.clone().with(socket("ipv4", "tcp", &[], &[]), UNKNOWN).has(&[
        ("fd.name", "10.0.0.2:80"),
        ("fd.type", "ipv4"),
        ("fd.sip", "10.0.0.2"),
        ("fd.sport", "80"),
        ("fd.rip", "10.0.0.2"),
        ("fd.cip", "-"),
        ("fd.is_server", "0"),
        ("fd.connected", "0"),
        ("fd.name_changed", "1"),
    ]);
    connect.with(socket("ipv4", "tcp", &local, &[]), UNKNOWN).has(&[
        ("fd.name", "10.0.0.7:4711->10.0.0.2:80"),
        ("fd.cip", "10.0.0.7"),
        ("fd.cport", "4711"),
        ("fd.snet", "10.0.0.2"),
    ]);
    let any = v4([0; 4], 80);
    let here = v4([10, 0, 0, 2], 80);
    let client = v4([10, 0, 0, 7], 4711);
    let accept = given("accept4", &[3, 1, 0, 0], &client);
    let accept = Recorded::new(TestCall { ret: 6, ..accept.call })
        .with(socket("ipv4", "tcp", &any, &[]), socket("ipv4", "tcp", &here, &client));
    accept.has(&[
        ("fd.name", "10.0.0.7:4711->10.0.0.2:80"),
        ("fd.num", "3"),
        ("fd.sip", "10.0.0.2"),
        ("fd.cip", "10.0.0.7"),
        ("fd.sport", "80"),
        ("fd.cport", "4711"),
        ("fd.is_server", "1"),
        ("fd.name_changed", "0"),
    ]);
    accept.finds(&[
        ("fd.name = 0.0.0.0:80", true),
        ("fd.name = '10.0.0.2:80->10.0.0.7:4711'", true),
        ("fd.is_server = true", true),
        ("fd.cnet = 10.0.0.4/30", true),
    ]);
    let failed = Recorded::new(call("accept4", &[3, 0, 0, 0], -11));
    failed.with(socket("ipv4", "tcp", &any, &[]), UNKNOWN).has(&[
        ("fd.name", "0.0.0.0:80"),
        ("fd.sport", "80"),
        ("fd.cip", "-"),
    ]);
}

#[test]
fn a_datagram_has_the_address_that_the_call_names() {
    let (bound, peer) = (v4([127, 0, 0, 1], 5353), v4([10, 0, 0, 9], 53));
    let sendto = call("sendto", &[5, 0, 10, 0, 1, 16], 10);
    let sendto = Recorded::new(TestCall { strs: vec![peer.clone()], ..sendto });
    sendto.clone().with(socket("ipv4", "udp", &bound, &[]), UNKNOWN).has(&[
        ("fd.name", "10.0.0.9:53"),
        ("fd.lip", "127.0.0.1"),
        ("fd.rip", "10.0.0.9"),
        ("fd.rport", "53"),
        ("fd.sip", "-"),
    ]);
    sendto.clone().with(socket("ipv4", "udp", &bound, &[]), UNKNOWN).finds(&[
        ("fd.name = 127.0.0.1:5353", true),
        ("fd.name = 10.0.0.9:53", true),
        ("fd.port in (53)", true),
    ]);
    sendto.has(&[("fd.name", "10.0.0.9:53"), ("fd.rip", "10.0.0.9"), ("fd.type", "-")]);
    let bind = Recorded::new(TestCall { strs: vec![bound.clone()], ..call("bind", &[5, 1, 16], 0) });
    bind.has(&[("fd.name", "127.0.0.1:5353"), ("fd.lport", "5353"), ("fd.rport", "-")]);
    // Without an address, the name is that of the socket.
    let plain = Recorded::new(call("sendto", &[5, 0, 10, 0, 0, 0], 10));
    plain.with(socket("ipv4", "udp", &bound, &[]), UNKNOWN).has(&[("fd.name", "127.0.0.1:5353")]);
}
