//! The header of a new file: host, kernel, clocks, command line.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use capture_format::{Header, Schema, Vocabulary};

use crate::host_root::HostRoot;
use crate::{clock, secrets};
use ktape_reader::model;
use ktape_reader::syscalls;

/// The header of a capture that begins now.
///
/// # Errors
///
/// `/dev/urandom`, for the UUID, cannot be read.
pub fn new(
    schema: &Arc<Schema>,
    labels: Vec<(String, String)>,
    options: Vec<(String, String)>,
    secrets_masked: bool,
    host: &HostRoot,
) -> Result<Header> {
    let names = uname();
    let wall_offset = clock::wall_offset();
    let zone = host.time_zone();
    let now = jiff::Timestamp::now();
    Ok(Header {
        capture_uuid: random_uuid()?,
        host: names.host,
        host_id: read_trimmed(host.path("/etc/machine-id")),
        kernel: names.kernel,
        arch: names.arch,
        boot_id: parse_uuid(&read_trimmed("/proc/sys/kernel/random/boot_id")).unwrap_or_default(),
        created: clock::boot_ns() as i64 + wall_offset,
        wall_offset,
        time_zone: zone.iana_name().unwrap_or_default().to_owned(),
        utc_offset: zone.to_offset(now).seconds(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: command_line(secrets_masked),
        labels,
        secrets_masked,
        options,
        vocabularies: Arc::new(vec![Vocabulary {
            name: model::CALLS.to_owned(),
            entries: syscalls::table().vocabulary(),
        }]),
        schema: schema.clone(),
    })
}

/// The header of the next rotated file, which begins now: current clocks, the rest unchanged.
pub fn renewed(header: &Header) -> Header {
    let wall_offset = clock::wall_offset();
    let zone = ktape_reader::text::time::host_zone(&header.time_zone, header.utc_offset);
    let offset = zone.to_offset(jiff::Timestamp::now());
    Header {
        created: clock::boot_ns() as i64 + wall_offset,
        wall_offset,
        utc_offset: offset.seconds(),
        ..header.clone()
    }
}

/// The arguments of this process, with secrets masked if `mask` is set.
fn command_line(mask: bool) -> Vec<Vec<u8>> {
    let mut joined = Vec::new();
    for arg in std::env::args_os() {
        joined.extend_from_slice(arg.as_bytes());
        joined.push(0);
    }
    let args = if mask { secrets::mask(&joined) } else { joined.as_slice().into() };
    args.split_inclusive(|b| *b == 0).map(|arg| arg.strip_suffix(b"\0").unwrap_or(arg).to_vec()).collect()
}

/// Parses the `KEY=VALUE` of `--label`.
///
/// # Errors
///
/// There is no `=`, or the key is empty.
pub fn parse_label(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("`{text}` is not a label; pass KEY=VALUE"),
    }
}

/// The fields of uname(2) that a header has.
struct Uname {
    host: String,
    kernel: String,
    arch: String,
}

fn uname() -> Uname {
    // SAFETY: a C struct of byte arrays, for which all zeroes is a value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer; it can only fail for a bad one.
    unsafe { libc::uname(&raw mut names) };
    let text = |bytes: &[libc::c_char]| -> String {
        let bytes: Vec<u8> = bytes.iter().take_while(|b| **b != 0).map(|b| *b as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Uname {
        host: text(&names.nodename),
        kernel: format!("{} {}", text(&names.release), text(&names.version)),
        arch: text(&names.machine),
    }
}

/// The host's name, for file names.
pub fn host_name() -> String {
    uname().host
}

fn read_trimmed(path: impl AsRef<std::path::Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn random_uuid() -> Result<[u8; 16]> {
    let mut uuid = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut uuid))
        .context("cannot read /dev/urandom")?;
    // A version 4 UUID of RFC 9562.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    if hex.len() != 32 {
        return None;
    }
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(hex.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_need_a_key() {
        assert_eq!(parse_label("zone=a=b").unwrap(), ("zone".to_owned(), "a=b".to_owned()));
        assert!(parse_label("zone").is_err());
        assert!(parse_label("=x").is_err());
    }

    #[test]
    fn uuids_have_32_hex_digits() {
        let uuid = parse_uuid("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(uuid[0], 0);
        assert_eq!(uuid[15], 0xff);
        assert_eq!(parse_uuid("0011"), None);
        assert_eq!(parse_uuid("zz112233-4455-6677-8899-aabbccddeeff"), None);
    }
}
