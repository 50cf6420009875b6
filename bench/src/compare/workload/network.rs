//! TCP over loopback, in a network namespace of the workload's own.

use std::fs;

use anyhow::{Context as _, Result};

use super::{BenchWorkload, ExpectedEvents, WorkCommands, WorkloadSetup, syscalls};

pub fn connections(setup: &WorkloadSetup) -> BenchWorkload {
    let own = "proc.name = ktape-workload";
    let n = setup.units(8_000, 3_000);
    let mut words = ["unshare", "-n"].map(str::to_owned).to_vec();
    words.extend(setup.words(&["connections", &n.to_string()]));
    BenchWorkload {
        name: "connections",
        title: "TCP connections over loopback, one after the other, one byte each way".to_owned(),
        unit: "connection",
        units: n,
        expect: vec![
            syscalls(format!("evt.type = connect and {own}"), n),
            syscalls(format!("evt.type = accept4 and {own}"), n),
            ExpectedEvents {
                expression: format!("evt.category = net and {own} and net.new = SYN_SENT"),
                kind: "net",
                count: n,
            },
        ],
        work: WorkCommands::Gated(vec![words]),
        _beside: Vec::new(),
    }
}

/// Requests that the clients make: a multiple of the eight clients and of the sixty requests of each round of theirs, fifty of
/// which share a connection.
pub fn web_server(setup: &WorkloadSetup) -> Result<BenchWorkload> {
    let own = "proc.name = bench-load";
    let n = setup.units(8 * 60 * 200, 8 * 60 * 80);
    let connections = n / 60 * 11;
    let (file, log) = (setup.file("served"), setup.file("access.log"));
    fs::write(&file, [b'x'; 8 << 10]).context("cannot write the file to serve")?;
    let enter = "ip link set lo up && exec \"$@\"";
    let mut words = ["unshare", "-n", "sh", "-c", enter, "sh"].map(str::to_owned).to_vec();
    words.extend(setup.load_words(&["web-server", &n.to_string(), &file, &log]));
    Ok(BenchWorkload {
        name: "web-server",
        title:
            "HTTP server with epoll, 8 clients over loopback, a file of 8 KiB, 11 connections per 60 requests"
                .to_owned(),
        unit: "request",
        units: n,
        // One more of each, before the start signal.
        expect: vec![
            syscalls(format!("evt.type = sendfile and {own} and evt.rawres = 8192"), n + 1),
            syscalls(format!("evt.type = openat and {own} and evt.arg.filename = \"{file}\""), n + 1),
            syscalls(format!("evt.type = connect and {own}"), connections + 1),
            syscalls(format!("evt.type = accept4 and {own} and evt.rawres >= 0"), connections + 1),
        ],
        work: WorkCommands::Gated(vec![words]),
        _beside: Vec::new(),
    })
}
