//! Loads the programs in parallel: the verifier takes most of the time of a start, and can verify several programs at
//! once.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::bpf::{self, Program};
use super::btf::Btf;
use super::error::LoadError;
use super::hooks::Hook;
use super::object::{Code, Object};

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

/// A program in the kernel.
pub(super) struct LoadedProgram {
    pub name: &'static str,
    pub fd: OwnedFd,
    /// How long the load took.
    pub took: Duration,
}

/// Loads these programs, on one thread per CPU, at most 8. Returns them in the same order.
pub(super) fn load(
    object: &Object,
    kernel: &Btf,
    wanted: &[ProgramToLoad],
) -> Result<Vec<LoadedProgram>, LoadError> {
    let mut programs = Vec::new();
    for (index, program) in wanted.iter().enumerate() {
        let code = object.program(program.name()).ok_or(LoadError::Missing(program.name()))?;
        programs.push((index, *program, code));
    }
    // The longest first, so that the threads end at about the same time.
    programs.sort_by_key(|(.., code)| std::cmp::Reverse(code.instructions.len()));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let work = || {
        while let Some((index, program, code)) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = load_one(*program, code, object, kernel);
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((*index, result));
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
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn load_one(
    wanted: ProgramToLoad,
    code: &Code,
    object: &Object,
    kernel: &Btf,
) -> Result<LoadedProgram, LoadError> {
    let name = wanted.name();
    let (attach_type, target) = match wanted {
        ProgramToLoad::Hook(hook) => (bpf::TRACEPOINT, kernel.tracepoint_type(hook.tracepoint)),
        ProgramToLoad::Iterator { over, .. } => (bpf::ITERATOR, kernel.function(&format!("bpf_iter_{over}"))),
    };
    let program = Program {
        name,
        instructions: &code.instructions,
        license: &code.license,
        attach_type,
        attach_btf_id: target.ok_or(LoadError::NoTarget { name })?,
        flags: 0,
        functions: Some((object.types(), &code.functions)),
        lines: &code.lines,
    };
    let started = Instant::now();
    let fd = program.load().map_err(|source| LoadError::Program { name, source, log: program.log() })?;
    Ok(LoadedProgram { name, fd, took: started.elapsed() })
}
