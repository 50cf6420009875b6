use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_is_the_same_in_every_spelling() {
    for (written, address, expected) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "::ffff:127.0.0.1", true),
        ("::ffff:127.0.0.1", "127.0.0.1", true),
        ("::ffff:7f00:1", "127.0.0.1", true),
        ("0:0:0:0:0:0:0:1", "::1", true),
        ("0::1", "::1", true),
        ("2001:DB8::1", "2001:db8:0:0::1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("::1", "0.0.0.1", false),
    ] {
        assert_eq!(Network::parse(written).unwrap().contains(ip(address)), expected, "{written} {address}");
    }
}

#[test]
fn networks_contain_what_shares_their_prefix() {
    for (network, address, expected) in [
        ("127.0.0.0/8", "127.255.0.3", true),
        ("127.0.0.0/8", "128.0.0.1", false),
        ("127.9.9.9/8", "127.0.0.1", true),
        ("127.0.0.0/8", "::ffff:127.0.0.1", true),
        ("::ffff:127.0.0.0/104", "127.3.4.5", true),
        ("10.0.0.0/31", "10.0.0.1", true),
        ("10.0.0.0/31", "10.0.0.2", false),
        ("10.0.0.1/32", "10.0.0.1", true),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("::/0", "127.0.0.1", false),
        ("::/0", "::ffff:127.0.0.1", false),
        ("fe80::/10", "febf::1", true),
        ("fe80::/10", "fec0::1", false),
    ] {
        assert_eq!(Network::parse(network).unwrap().contains(ip(address)), expected, "{network} {address}");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for text in ["127.0.0.300", "localhost", "127.1", "", "/8", "10.0.0.5:80", "1.2.3.4.5", "fe80::1%2"] {
        assert_eq!(Network::parse(text), Err(AddressError::Ip(text.to_owned())), "{text}");
    }
    for (text, bits) in
        [("10.0.0.0/33", 32), ("10.0.0.0/", 32), ("10.0.0.0/+8", 32), ("::/129", 128), ("::/x", 128)]
    {
        assert_eq!(Network::parse(text), Err(AddressError::Prefix(text.to_owned(), bits)), "{text}");
    }
}

#[test]
fn endpoints_with_and_without_a_port() {
    for (written, address, port, scope, expected) in [
        ("127.0.0.1:80", "127.0.0.1", 80, 0, true),
        ("127.0.0.1:80", "::ffff:127.0.0.1", 80, 0, true),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1", 80, 0, true),
        ("127.0.0.1:80", "127.0.0.1", 81, 0, false),
        ("127.0.0.1", "127.0.0.1", 81, 0, true),
        ("127.0.0.0/8", "127.7.7.7", 81, 0, true),
        ("[0::1]:80", "::1", 80, 0, true),
        ("[::1]", "::1", 9, 0, true),
        ("::1", "::1", 9, 0, true),
        ("[fe80::1%3]:80", "fe80::1", 80, 3, true),
        ("[fe80::1%3]:80", "fe80::1", 80, 4, false),
        ("[fe80::1]:80", "fe80::1", 80, 4, true),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", 80, 0, true),
    ] {
        let endpoint = Endpoint::parse(written).unwrap_or_else(|e| panic!("{written}: {e}"));
        assert_eq!(endpoint.contains(ip(address), port, scope), expected, "{written} {address}");
    }
    for text in
        ["127.0.0.1:70000", "127.0.0.1:", "127.0.0.300:80", "[::1", "[::1]80", "[127.0.0.1]:80", "a:80", ""]
    {
        assert_eq!(Endpoint::parse(text), Err(AddressError::Endpoint(text.to_owned())), "{text}");
    }
    let error = Endpoint::parse("2001:db8::5:443").unwrap_err();
    assert_eq!(error, AddressError::Ambiguous { address: "2001:db8::5".to_owned(), port: 443 });
    assert!(error.to_string().ends_with("write [2001:db8::5:443] or [2001:db8::5]:443"), "{error}");
}
