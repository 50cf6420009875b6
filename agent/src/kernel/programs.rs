//! The loaded programs: attaching, detaching, iterators and lost events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use agent_ebpf::records::block::Block;
use agent_ebpf::records::uring::Request;
use agent_ebpf::records::{fallback, net};
use aya::maps::{HashMap, MapData, PerCpuArray};
use aya_log::EbpfLogger;
use events::Kind;
use rustc_hash::FxHashMap;

use super::block::{self, RequestNames};
use super::bpf;
use super::connections::ConnectionScanner;
use super::cpu_rings::CpuStates;
use super::error::{LoadError, map_error};
use super::hooks::{self, Group, Hook};
use super::iterator::ScanProgram;
use super::loss::{EventLoss, LossCounters};
use super::maps::take;
use super::object::Object;
use super::reader_set::ReaderSet;
use super::stalls::StallScanner;
use super::tasks::{self, ScannedTask};
use super::uring;
use super::verify::LoadedProgram;

/// The program that iterates over the sockets of all processes.
pub(super) const SOCKET_ITERATOR: &str = "socket_iter";

/// What the kernel reports of a loaded program.
#[derive(Clone, Debug)]
pub struct ProgramReport {
    /// The program's name.
    pub name: String,
    /// Instructions that the verifier processed; reported by 5.16 and later.
    pub verified: Option<u32>,
    /// Bytes of translated eBPF.
    pub bytes: Option<u32>,
    /// How long the load took.
    pub load: Duration,
}

/// The programs in the kernel. Dropping this detaches and unloads them.
pub struct LoadedPrograms {
    pub(super) cpus: CpuStates,
    pub(super) object: Object,
    pub(super) programs: Vec<LoadedProgram>,
    pub(super) allowed: HashMap<MapData, u64, u8>,
    pub(super) allowed_io: HashMap<MapData, u64, u8>,
    /// Until the readers of the output are watched.
    pub(super) readers: Option<ReaderSet>,
    pub(super) losses: LossCounters,
    pub(super) net_runs: PerCpuArray<MapData, [u64; net::RUNS]>,
    pub(super) fallback_runs: PerCpuArray<MapData, [u64; fallback::COUNT]>,
    /// By hook with a fallback program: skipped runs that lost nothing, in addition to those that the fallback program took.
    pub(super) not_lost: FxHashMap<&'static str, u64>,
    pub(super) hooks: Vec<&'static Hook>,
    pub(super) request_names: RequestNames,
    pub(super) legacy: bool,
    pub(super) links: Vec<(&'static str, OwnedFd)>,
    pub(super) log: Option<EbpfLogger<&'static dyn log::Log>>,
    // The outer maps hold references to the ring buffers and are closed last.
    pub(super) _outer: [MapData; 2],
}

impl LoadedPrograms {
    /// Attaches the hooks, lifecycle events first.
    ///
    /// # Errors
    ///
    /// The kernel lacks a tracepoint or does not permit attaching to it.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        for hook in &self.hooks {
            let name = hook.name;
            let link = bpf::attach_tracepoint(self.program(name)?)
                .map_err(|source| LoadError::Attach { name, source })?;
            self.links.push((name, link));
        }
        Ok(())
    }

    /// The state of the CPUs, shared with the programs.
    pub fn cpus(&self) -> &CpuStates {
        &self.cpus
    }

    /// The processes that read the output; `None` once it is taken.
    pub fn take_readers(&mut self) -> Option<ReaderSet> {
        self.readers.take()
    }

    /// Detaches all but the lifecycle hooks: calls and requests in flight no longer change, and can be listed.
    pub fn detach_event_hooks(&mut self) {
        self.detach(|name| hooks::find(name).is_none_or(|hook| hook.group != Group::Lifecycle));
    }

    /// Detaches the remaining hooks.
    pub fn detach_all(&mut self) {
        self.detach(|_| true);
    }

    /// Detaches these hooks, last attached first. The programs stay loaded, for their counters.
    fn detach(&mut self, which: impl Fn(&str) -> bool) {
        self.update_not_lost();
        let (mut gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.links).into_iter().partition(|(name, _)| which(name));
        self.links = kept;
        while let Some(last) = gone.pop() {
            drop(last);
        }
    }

    /// The descriptor of a loaded program.
    fn program(&self, name: &'static str) -> Result<BorrowedFd<'_>, LoadError> {
        let program = self.programs.iter().find(|program| program.name == name);
        program.map(|program| program.fd.as_fd()).ok_or(LoadError::Missing(name))
    }

    /// Lists all threads of the host, each with the system call that it is in.
    ///
    /// # Errors
    ///
    /// The iterator could not be created or read.
    pub fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError> {
        let program = self.program("task_iter")?;
        let run = || tasks::read(ScanProgram::new(program)?.start()?);
        let mut tasks = run().map_err(|source| LoadError::Io { what: "run the task iterator", source })?;
        if self.legacy {
            tasks::find_executables(&mut tasks);
        }
        Ok(tasks)
    }

    /// The iterator of stalled threads. Can be taken once, and only if stalls are recorded.
    ///
    /// # Errors
    ///
    /// The iterator could not be created.
    pub fn stall_scanner(&mut self) -> Result<StallScanner, LoadError> {
        let wakes = take(&mut self.object, "WAKES")?;
        let reported = take(&mut self.object, "STALL_REPORTED")?;
        StallScanner::new(self.program("stall_iter")?, wakes, reported)
            .map_err(|source| LoadError::Io { what: "start the iterator of stalled threads", source })
    }

    /// The iterator over TCP sockets, if those are recorded.
    ///
    /// # Errors
    ///
    /// The iterator could not be created.
    pub fn connection_scanner(&mut self) -> Result<ConnectionScanner, LoadError> {
        ConnectionScanner::new(self.program(SOCKET_ITERATOR)?)
            .map_err(|source| LoadError::Io { what: "start the iterator over sockets", source })
    }

    /// This kernel's names of block operations and flags.
    pub fn request_names(&self) -> &RequestNames {
        &self.request_names
    }

    /// Block requests in flight at `now` (boot clock, ns); exact once the hooks are detached.
    pub fn blocks_in_flight(&self, now: u64) -> Vec<Block> {
        block::in_flight(&self.object, now)
    }

    /// Requests of io_uring in flight at `now` (boot clock, ns); exact once the hooks are detached.
    pub fn urings_in_flight(&self, now: u64) -> Vec<Request> {
        uring::in_flight(&self.object, now)
    }

    /// Adds a cgroup to the allow-set, or removes it.
    ///
    /// # Errors
    ///
    /// The set is full.
    pub fn set_allowed(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        let result = if allow {
            self.allowed.insert(cgroup, 1, 0).map_err(map_error("ALLOWED"))
        } else {
            // It may be gone already.
            let _ = self.allowed.remove(&cgroup);
            Ok(())
        };
        self.cpus.recheck();
        result
    }

    /// Adds a cgroup of the I/O hierarchy to its allow-set, or removes it.
    ///
    /// # Errors
    ///
    /// The set is full.
    pub fn set_allowed_io(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        if allow {
            self.allowed_io.insert(cgroup, 1, 0).map_err(map_error("ALLOWED_IO"))
        } else {
            // It may be gone already.
            let _ = self.allowed_io.remove(&cgroup);
            Ok(())
        }
    }

    /// Events lost in the kernel since the last call.
    pub fn take_losses(&mut self) -> Vec<EventLoss> {
        let mut lost = self.losses.take();
        self.update_not_lost();
        for hook in &self.hooks {
            let Some(kind) = hook.lost else { continue };
            let Some(skipped) = self.skipped(hook.name) else { continue };
            // Read after the number of skipped runs: the difference may be too low now, and is made up next time.
            let done = self.done_by_fallback(hook) + self.not_lost.get(hook.name).copied().unwrap_or(0);
            self.losses.take_missed(hook.name, kind, skipped.saturating_sub(done), &mut lost);
        }
        lost
    }

    /// How many runs of a program the kernel has skipped as recursions; `None` if it does not report that.
    fn skipped(&self, name: &'static str) -> Option<u64> {
        Some(bpf::program_info(self.program(name).ok()?).ok()?.recursion_misses)
    }

    /// How often this hook's fallback program did its work.
    fn done_by_fallback(&self, hook: &Hook) -> u64 {
        match hook.fallback {
            Some((_, index)) => sum(&self.fallback_runs, index),
            None if hook.lost == Some(Kind::Net) => sum(&self.net_runs, net::NESTED),
            None => 0,
        }
    }

    /// Counts skipped runs that lost nothing. Neither the program nor its fallback program does anything for a call that
    /// is not wanted, so such a run leaves no trace. But an event is lost only if both programs were skipped: no more
    /// events are lost than runs of the fallback program were skipped, as long as that is attached.
    fn update_not_lost(&mut self) {
        for hook in &self.hooks {
            if let Some((name, _)) = hook.fallback
                && self.links.iter().any(|(attached, _)| *attached == name)
                && let Some(skipped) = self.skipped(hook.name)
                && let Some(twice) = self.skipped(name)
            {
                let open = skipped.saturating_sub(self.done_by_fallback(hook));
                self.not_lost.insert(hook.name, open.saturating_sub(twice));
            }
        }
    }

    /// Logs the programs' messages.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Size and load time of each program.
    pub fn reports(&self) -> Vec<ProgramReport> {
        let known = |number: u32| (number != 0).then_some(number);
        self.programs
            .iter()
            .map(|program| {
                let info = bpf::program_info(program.fd.as_fd()).ok();
                ProgramReport {
                    name: program.name.to_owned(),
                    verified: info.and_then(|info| known(info.verified_insns)),
                    bytes: info.and_then(|info| known(info.xlated_prog_len)),
                    load: program.took,
                }
            })
            .collect()
    }
}

/// The sum over all CPUs of the counter at `index`.
fn sum<const N: usize>(counts: &PerCpuArray<MapData, [u64; N]>, index: usize) -> u64 {
    counts.get(&0, 0).map_or(0, |cpus| cpus.iter().map(|counts| counts[index]).sum())
}
