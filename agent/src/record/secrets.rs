//! Values after well-known secret flags in arguments are not recorded.

use std::borrow::Cow;

/// What stands in their place.
const MASK: &[u8] = b"******";

/// Flags whose value is a secret, in lower case and without leading dashes.
const FLAGS: [&[u8]; 14] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"pass",
    b"pwd",
    b"secret",
    b"token",
    b"api-key",
    b"apikey",
    b"api_key",
    b"access-key",
    b"secret-key",
    b"client-secret",
    b"auth-token",
];

/// The same arguments, each NUL-terminated, with the values of secret flags replaced: of
/// `--password x`, `--password=x` and `PASSWORD=x`.
pub fn mask(args: &[u8]) -> Cow<'_, [u8]> {
    if !args.split(|b| *b == 0).any(|arg| is_secret(split(arg).0)) {
        return Cow::Borrowed(args);
    }
    let mut out = Vec::with_capacity(args.len());
    let mut value_follows = false;
    let mut rest = args;
    while !rest.is_empty() {
        let len = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        let arg = &rest[..len];
        let (name, value) = split(arg);
        if std::mem::take(&mut value_follows) && !arg.starts_with(b"-") {
            out.extend_from_slice(MASK);
        } else if is_secret(name) && value.is_some() {
            out.extend_from_slice(name);
            out.push(b'=');
            out.extend_from_slice(MASK);
        } else {
            value_follows = arg.starts_with(b"-") && is_secret(name);
            out.extend_from_slice(arg);
        }
        if len < rest.len() {
            out.push(0);
        }
        rest = rest.get(len + 1..).unwrap_or_default();
    }
    Cow::Owned(out)
}

fn split(arg: &[u8]) -> (&[u8], Option<&[u8]>) {
    match arg.iter().position(|b| *b == b'=') {
        Some(at) => (&arg[..at], Some(&arg[at + 1..])),
        None => (arg, None),
    }
}

fn is_secret(name: &[u8]) -> bool {
    let dashes = name.iter().take_while(|b| **b == b'-').count();
    let name = name[dashes..].to_ascii_lowercase();
    // `--db-password` and `MYSQL_PASSWORD` as well.
    FLAGS.iter().any(|flag| {
        name == **flag
            || (name.ends_with(flag) && matches!(name[name.len() - flag.len() - 1], b'-' | b'_' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_values_and_nothing_else() {
        for (args, want) in [
            ("mysql\0--password=geheim\0db\0", "mysql\0--password=******\0db\0"),
            ("tool\0--token\0abc\0x\0", "tool\0--token\0******\0x\0"),
            ("env\0MYSQL_PASSWORD=a\0true\0", "env\0MYSQL_PASSWORD=******\0true\0"),
            ("tool\0--db-secret\0-v\0", "tool\0--db-secret\0-v\0"),
            ("echo\0password\0x\0", "echo\0password\0x\0"),
            ("ls\0--bypass\0x\0", "ls\0--bypass\0x\0"),
            ("cut\0--token\0ab", "cut\0--token\0******"),
            ("", ""),
        ] {
            assert_eq!(mask(args.as_bytes()), want.as_bytes(), "{args:?}");
        }
    }
}
