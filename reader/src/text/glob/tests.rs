use super::matches;

#[test]
fn patterns_match_whole_values() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("*", "", true),
        ("/etc/*", "/etc/ssh/sshd_config", true),
        ("/etc/*", "/usr/etc/", false),
        ("*.so.?", "/lib/libc.so.6", true),
        ("*.so.?", "/lib/libc.so.66", false),
        ("a*b*c", "axxbyybzzc", true),
        ("a*b*c", "axxbyybzz", false),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[]x]", "]", true),
        ("[a", "[a", true),
        (r"\*", "*", true),
        (r"\*", "x", false),
        ("abc", "abcd", false),
        ("?", "", false),
    ] {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
    }
}

#[test]
fn many_stars_do_not_explode() {
    let pattern = "*a".repeat(40);
    let text = "a".repeat(39) + &"b".repeat(5000);
    assert!(!matches(pattern.as_bytes(), text.as_bytes()));
}
