//! Cheap system calls in a loop.

use std::fs;

use anyhow::{Context as _, Result};

use super::{BenchWorkload, WorkCommands, WorkloadSetup, syscalls};
use crate::compare::machine;

const OWN: &str = "proc.name = ktape-workload";

pub fn getppid(setup: &WorkloadSetup) -> BenchWorkload {
    let n = setup.units(3_000_000, 2_000_000);
    BenchWorkload {
        name: "getppid",
        title: "getppid in a loop on one CPU".to_owned(),
        unit: "call",
        units: n,
        expect: vec![syscalls(format!("evt.type = getppid and {OWN}"), n)],
        work: WorkCommands::Gated(vec![setup.words(&["getppid", &n.to_string(), "0"])]),
        _beside: Vec::new(),
    }
}

pub fn getppid_all(setup: &WorkloadSetup) -> BenchWorkload {
    let (n, cpus) = (setup.units(3_000_000, 2_000_000), machine::cpus());
    let loops = (0..cpus).map(|cpu| setup.words(&["getppid", &n.to_string(), &cpu.to_string()]));
    BenchWorkload {
        name: "getppid-all",
        title: format!("getppid in a loop on each of {cpus} CPUs"),
        unit: "call on each CPU",
        units: n,
        expect: vec![syscalls(format!("evt.type = getppid and {OWN}"), n * cpus as u64)],
        work: WorkCommands::Gated(loops.collect()),
        _beside: Vec::new(),
    }
}

/// The same loop as [`getppid`], beside recorders that want other containers or other calls.
pub fn unwanted(setup: &WorkloadSetup) -> BenchWorkload {
    BenchWorkload {
        name: "unwanted",
        title: "getppid in a loop on one CPU, which the recorder does not want".to_owned(),
        expect: vec![syscalls(format!("evt.type = getppid and {OWN}"), 0)],
        ..getppid(setup)
    }
}

pub fn open_close(setup: &WorkloadSetup) -> Result<BenchWorkload> {
    let n = setup.units(1_000_000, 500_000);
    let path = setup.file("opened");
    fs::write(&path, [b'x'; 100]).context("cannot write the file to open")?;
    Ok(BenchWorkload {
        name: "open-close",
        title: "open and close a file in a loop on one CPU".to_owned(),
        unit: "pair",
        units: n,
        expect: vec![syscalls(format!("evt.type = openat and evt.arg.filename = \"{path}\""), n)],
        work: WorkCommands::Gated(vec![setup.load_words(&["open-close", &n.to_string(), &path])]),
        _beside: Vec::new(),
    })
}

pub fn pipe(setup: &WorkloadSetup) -> BenchWorkload {
    let n = setup.units(200_000, 100_000);
    BenchWorkload {
        name: "pipe",
        title: "two processes on one CPU pass a byte back and forth".to_owned(),
        unit: "round trip",
        units: n,
        expect: vec![syscalls(
            format!("{OWN} and evt.type in (read, write) and evt.rawres = 1 and evt.arg.fd >= 3"),
            4 * n,
        )],
        work: WorkCommands::Gated(vec![setup.words(&["pipe", &n.to_string()])]),
        _beside: Vec::new(),
    }
}
