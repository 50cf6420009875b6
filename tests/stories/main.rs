//! Incidents, made with real load, and explained by `ktape` from the file alone. `README.md` beside this file
//! describes each as the engineer who is paged would work through it.

mod a_hangs;
mod b_flood;
mod c_threads;
mod d_sizes;
mod e_who;
mod f_last_second;
mod g_server;
mod h_forks;
mod j_connections;

use std::process::{Child, ExitStatus};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ktape_tests::container::Container;
use ktape_tests::wait::until;

/// How long a part of a story may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The id of a container, from a digit that is its own.
fn id(digit: char) -> String {
    format!("57{digit}0").repeat(16)
}

/// The path of its cgroup.
fn cgroup(digit: char) -> String {
    format!("/docker/{}", id(digit))
}

/// What ktape prints of a container's id.
fn short(digit: char) -> String {
    id(digit)[..12].to_owned()
}

fn ended(container: &Container) {
    until("the container to end", TIMEOUT, || container.has_ended().then_some(()));
}

/// Wait until a container has printed this line.
fn printed(container: &Container, line: &str) {
    until(&format!("the container to print {line}"), TIMEOUT, || {
        container.output().lines().any(|printed| printed == line).then_some(())
    });
}

/// Wait for the end of a program that must not outlive the test.
fn finished(mut child: Child) -> ExitStatus {
    let status = until("a program to end", TIMEOUT, || child.try_wait().expect("our own child"));
    let _ = child.wait();
    status
}

/// Now, as `--from` and `--to` take it.
fn now() -> String {
    at(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64)
}

/// A time in ns since 1970, as `--from` and `--to` take it: RFC 3339 in UTC.
fn at(ns: i64) -> String {
    let (seconds, rest) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1970 to a date, by the months of years that begin in March.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day = z.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{rest:09}Z")
}

#[test]
fn times_format_as_rfc3339() {
    assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(at(951_827_696_000_000_001), "2000-02-29T12:34:56.000000001Z");
    assert_eq!(at(1_795_477_402_500_000_000), "2026-11-23T23:43:22.500000000Z");
}
