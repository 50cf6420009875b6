//! Loads the programs in parallel: the verifier takes most of the time of a start, and can verify several programs at
//! once.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};

use super::error::LoadError;
use super::hooks::Hook;

/// A program of the object and how it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramToLoad {
    Hook(&'static Hook),
    /// An iterator.
    Iterator {
        name: &'static str,
        /// What the kernel calls what it iterates over.
        over: &'static str,
    },
}

impl ProgramToLoad {
    fn name(self) -> &'static str {
        match self {
            Self::Hook(hook) => hook.name,
            Self::Iterator { name, .. } => name,
        }
    }
}

/// Loads these programs, on one thread per CPU, at most 8. Returns how long each took.
pub(super) fn load(
    ebpf: &mut Ebpf,
    btf: &Btf,
    wanted: &[ProgramToLoad],
) -> Result<Vec<(&'static str, Duration)>, LoadError> {
    for program in wanted {
        if ebpf.program(program.name()).is_none() {
            return Err(LoadError::Missing(program.name()));
        }
    }
    let programs = ebpf.programs_mut().filter_map(|(name, program)| {
        wanted.iter().find(|wanted| wanted.name() == name).map(|wanted| (*wanted, program))
    });
    let mut programs: Vec<(ProgramToLoad, &mut Program)> = programs.collect();
    // Threads take programs from the end of the list: the lifecycle hooks, which are verified fast, come last, so that
    // the threads end at about the same time.
    programs.sort_by_key(|(program, _)| wanted.iter().position(|other| other == program));
    let queue = Mutex::new(programs);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let Some((wanted, program)) = next else { break };
            let started = Instant::now();
            let result = load_one(wanted, program, btf);
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            results.push((wanted, result, started.elapsed()));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads it takes longer.
            let _ = std::thread::Builder::new().name("ktape-load".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(program, ..)| wanted.iter().position(|other| other == program));
    let mut times = Vec::new();
    for (wanted, result, took) in results {
        let name = wanted.name();
        result.map_err(|source| LoadError::Program { name, source })?;
        times.push((name, took));
    }
    Ok(times)
}

fn load_one(wanted: ProgramToLoad, program: &mut Program, btf: &Btf) -> Result<(), ProgramError> {
    match (wanted, program) {
        (ProgramToLoad::Hook(hook), Program::BtfTracePoint(program)) => program.load(hook.tracepoint, btf),
        (ProgramToLoad::Iterator { over, .. }, Program::Iter(program)) => program.load(over, btf),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
