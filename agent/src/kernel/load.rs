//! Loads the programs, attaches them, and takes them out again.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use agent_ebpf::config::Config;
use agent_ebpf::records::block::Block;
use agent_ebpf::records::{LossKey, fallback, net, stage};
use agent_ebpf::spec::Spec;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use events::Kind;
use rustc_hash::FxHashMap;

use super::block::{self, RequestNames};
use super::btf::Btf;
use super::config::{self, Selection};
use super::error::{LoadError, map_error};
use super::hooks::{self, Group, Hook, Kernels};
use super::loss::{self, LossCounters, Lost};
use super::preemption;
use super::rings::{Rings, make_rings, online_cpus};
use super::stalls::StallScanner;
use super::tasks::{self, ScannedTask};
use super::verify::{self, Wanted};
use crate::containers::Hierarchy;

/// How many open TCP sockets can be remembered: 4 MiB of the kernel's memory.
const SOCKETS_MAX: u32 = 32768;
/// Entries of a map that is made in advance and not needed.
const UNUSED_MAP: u32 = 64;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/ktape.bpf.o");
/// For kernels of which [`is_legacy`] is true.
static LEGACY_OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/ktape-legacy.bpf.o");

/// What to capture.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which kinds of events.
    pub kinds: Vec<Kind>,
    /// Which syscalls.
    pub selection: Selection,
    /// Only these cgroups, and such that are created meanwhile.
    pub cgroups: Option<Vec<u64>>,
    /// Only this process and its descendants, from its exec on.
    pub tree_pid: Option<u32>,
    /// Processes to leave out (those that our pipe leads to), with their children.
    pub reader_pids: Vec<u32>,
    /// Bytes of each CPU's flood ring; rounded to a power of two of at least a page.
    pub ring_bytes: u32,
    /// Bytes of each CPU's lifecycle ring.
    pub lifecycle_bytes: u32,
    /// The hierarchy that identifies cgroups.
    pub hierarchy: Hierarchy,
    /// From when on an uninterruptible sleep is told of, if it is.
    pub stall: Option<Duration>,
    /// Whether the programs' messages are wanted.
    pub kernel_log: bool,
}

/// What the kernel says about a loaded program.
#[derive(Clone, Debug)]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// Instructions that the verifier walked through, where the kernel tells (5.16 and later).
    pub verified: Option<u32>,
    /// Bytes of translated eBPF.
    pub bytes: Option<u32>,
    /// How long the load took.
    pub load: Duration,
}

/// The read-only globals, as bytes that aya may copy.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Globals(Config);

// SAFETY: `Config` is repr(C) and made of u32 alone.
unsafe impl aya::Pod for Globals {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodSpec(Spec);

// SAFETY: `Spec` is repr(C) and made of u8 alone.
unsafe impl aya::Pod for PodSpec {}

/// A key of the loss map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct PodLossKey(pub(super) LossKey);

// SAFETY: `LossKey` is repr(C) without padding (checked at its definition).
unsafe impl aya::Pod for PodLossKey {}

/// The programs in the kernel. Dropping it takes them out.
pub struct LoadedPrograms {
    ebpf: Ebpf,
    allowed: HashMap<MapData, u64, u8>,
    losses: LossCounters,
    net_runs: PerCpuArray<MapData, [u64; net::RUNS]>,
    fallback_runs: PerCpuArray<MapData, [u64; fallback::COUNT]>,
    /// Of hooks with a fallback program: skipped runs that nothing was lost by, beside those that it did the work for.
    not_lost: FxHashMap<&'static str, u64>,
    hooks: Vec<&'static Hook>,
    request_names: RequestNames,
    legacy: bool,
    links: Vec<(&'static str, BtfTracePointLinkId)>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
    load_times: Vec<(&'static str, Duration)>,
    // The outer maps hold references to the rings; closing them is the last thing.
    _outer: Vec<ArrayOfMaps<MapData, MapData>>,
}

impl LoadedPrograms {
    /// Loads everything; nothing is attached yet.
    ///
    /// # Errors
    ///
    /// The kernel lacks something or forbids it.
    pub fn load(settings: &Settings) -> Result<(Self, Rings), LoadError> {
        let kernel = Btf::of_kernel()?;
        let cpus = online_cpus();
        let mut globals = Config::EMPTY;
        globals.offsets = config::offsets(&kernel);
        config::set_registers(&mut globals);
        globals.own_pid = std::process::id();
        for (slot, pid) in globals.reader_pids.iter_mut().zip(&settings.reader_pids) {
            *slot = *pid;
        }
        globals.hierarchy = settings.hierarchy.number;
        globals.cgroup_subsys = match &settings.hierarchy.subsys {
            None => 0,
            Some(subsys) => kernel
                .enum_value("cgroup_subsys_id", &format!("{subsys}_cgrp_id"))
                .map(|index| index + 1)
                .ok_or(LoadError::Missing("number for the cgroup controller in the kernel's types"))?,
        };
        globals.filter_cgroups = u32::from(settings.cgroups.is_some());
        globals.tree_pid = settings.tree_pid.unwrap_or(0);
        globals.rings = cpus;
        globals.narrow = u32::from(matches!(settings.selection, Selection::Named(_)));
        globals.exit_has_group_dead = u32::from(kernel.tracepoint_args("sched_process_exit") == Some(2));
        globals.switch_has_state = u32::from(kernel.tracepoint_args("sched_switch") == Some(4));
        let stall = settings.stall.filter(|_| settings.kinds.contains(&Kind::Stall));
        globals.stall_ms =
            stall.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1));
        globals.switches = u32::from(settings.kinds.contains(&Kind::Switch));
        globals.sched = u32::from(stall.is_some() || settings.kinds.contains(&Kind::Switch));
        if let Some(bit) = kernel.bit_offset("task_struct.in_execve") {
            globals.in_execve = bit / 8;
            globals.in_execve_mask = 1 << (bit % 8);
        }
        block::set_config(&mut globals, &kernel);
        config::set_net_and_oom(&mut globals, &kernel, &settings.kinds);
        let sockets = if globals.net == 0 { UNUSED_MAP } else { SOCKETS_MAX };
        let sort = sort(&kernel);
        let legacy = sort == Kernels::Legacy;
        if legacy {
            globals.stack_registers = config::stack_registers(&kernel);
        }
        globals.fallbacks = u32::from(sort == Kernels::Preemptible);
        let globals = Globals(globals);

        let block_entries = block::entries(settings.kinds.contains(&Kind::Block), cpus);
        let btf = aya::Btf::from_sys_fs()?;
        // 0 is off, 5 is everything; the verifier removes what is off.
        let log_level = if settings.kernel_log { 5u8 } else { 0 };
        let mut object = (if legacy { LEGACY_OBJECT } else { OBJECT }).to_vec();
        let functions = (sort == Kernels::Preemptible).then(|| preemption::functions(&kernel)).flatten();
        preemption::set_functions(&mut object, functions.as_ref());
        let mut loader = EbpfLoader::new();
        if legacy {
            let tasks = config::tasks_max();
            let sched = if globals.0.sched == 0 { UNUSED_MAP } else { tasks };
            loader.map_max_entries("TASKS", tasks).map_max_entries("SCHED", sched);
        }
        let mut ebpf = loader
            .btf(Some(&btf))
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .allow_unsupported_maps()
            .override_global("CONFIG", &globals, true)
            .map_max_entries("EVENTS", cpus)
            .map_max_entries("LIFECYCLE", cpus)
            .map_max_entries("BLOCK_BIOS", block_entries)
            .map_max_entries("BLOCK_REQUESTS", block_entries)
            .map_max_entries("SOCKETS", sockets)
            .load(&object)?;

        let (flood, flood_map) = make_rings(&mut ebpf, "EVENTS", cpus, settings.ring_bytes)?;
        let (lifecycle, lifecycle_map) = make_rings(&mut ebpf, "LIFECYCLE", cpus, settings.lifecycle_bytes)?;

        let mut specs: Array<MapData, PodSpec> = take(&mut ebpf, "SPECS")?;
        for (index, spec) in config::specs(&settings.selection).into_iter().enumerate() {
            if spec != Spec::default() {
                specs.set(index as u32, PodSpec(spec), 0).map_err(map_error("SPECS"))?;
            }
        }
        let mut allowed: HashMap<MapData, u64, u8> = take(&mut ebpf, "ALLOWED")?;
        for cgroup in settings.cgroups.iter().flatten() {
            allowed.insert(cgroup, 1, 0).map_err(map_error("ALLOWED"))?;
        }
        let mut losses: PerCpuHashMap<MapData, PodLossKey, u64> = take(&mut ebpf, "LOSSES")?;
        let possible =
            aya::util::nr_cpus().map_err(|(_, source)| LoadError::Io { what: "count CPUs", source })?;
        for kind in events::KINDS {
            for stage in [stage::RING, stage::STORAGE, stage::MAP, stage::SKIPPED] {
                let key = LossKey { cgroup: u64::MAX, kind: kind as u8, stage, reserved: [0; 3] };
                let zero = PerCpuValues::try_from(vec![0u64; possible])
                    .map_err(|source| LoadError::Io { what: "count CPUs", source })?;
                losses.insert(PodLossKey(key), zero, 0).map_err(map_error("LOSSES"))?;
            }
        }

        let hooks = available(&kernel, hooks::needed(&settings.kinds, &settings.selection, sort))?;
        let mut wanted: Vec<Wanted> = hooks.iter().map(|hook| Wanted::Hook(hook)).collect();
        wanted.push(Wanted::TaskIterator("task_iter"));
        if stall.is_some() {
            wanted.push(Wanted::TaskIterator("stall_iter"));
        }
        let load_times = verify::load(&mut ebpf, &btf, &wanted)?;

        let log = if settings.kernel_log { Some(EbpfLogger::init(&mut ebpf)?) } else { None };
        let losses = LossCounters::new(losses);
        let net_runs = take(&mut ebpf, "NET_RUNS")?;
        let fallback_runs = take(&mut ebpf, "FALLBACK_RUNS")?;
        let programs = Self {
            ebpf,
            allowed,
            losses,
            net_runs,
            fallback_runs,
            not_lost: FxHashMap::default(),
            hooks,
            request_names: RequestNames::of(&kernel),
            legacy,
            links: Vec::new(),
            log,
            load_times,
            _outer: vec![flood_map, lifecycle_map],
        };
        Ok((programs, Rings { flood, lifecycle }))
    }

    /// Attaches the hooks, the rare events first.
    ///
    /// # Errors
    ///
    /// The kernel lacks a tracepoint or forbids to attach to it.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        for hook in &self.hooks {
            let name = hook.name;
            let program: &mut BtfTracePoint = program(&mut self.ebpf, name)?;
            let link = program.attach().map_err(|source| LoadError::Program { name, source })?;
            self.links.push((name, link));
        }
        Ok(())
    }

    /// Detaches all but the rare events, so that what each task is in, and what is in flight, stands still.
    pub fn detach_floods(&mut self) {
        self.detach(|name| hooks::find(name).is_none_or(|hook| hook.group != Group::Lifecycle));
    }

    /// Detaches what is left.
    pub fn detach_all(&mut self) {
        self.detach(|_| true);
    }

    /// The last attached goes first. The programs stay loaded, for their counters.
    fn detach(&mut self, which: impl Fn(&str) -> bool) {
        self.look_at_fallbacks();
        let (gone, kept) = std::mem::take(&mut self.links).into_iter().partition(|(name, _)| which(name));
        self.links = kept;
        let gone: Vec<(&'static str, BtfTracePointLinkId)> = gone;
        for (name, link) in gone.into_iter().rev() {
            if let Some(Program::BtfTracePoint(program)) = self.ebpf.program_mut(name) {
                // It can only fail for a link that is gone already.
                let _ = program.detach(link);
            }
        }
    }

    /// Lists every thread of the machine, with the call it is in.
    ///
    /// # Errors
    ///
    /// The iterator could not be made or read.
    pub fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError> {
        let name = "task_iter";
        let iter: &mut Iter = program(&mut self.ebpf, name)?;
        let link = iter.attach().map_err(|source| LoadError::Program { name, source })?;
        let link = iter.take_link(link).map_err(|source| LoadError::Program { name, source })?;
        let file = link.into_file().map_err(|error| LoadError::Io {
            what: "start the task iterator",
            source: std::io::Error::other(error),
        })?;
        let mut tasks =
            tasks::read(file).map_err(|source| LoadError::Io { what: "read the task iterator", source })?;
        if self.legacy {
            tasks::find_executables(&mut tasks);
        }
        Ok(tasks)
    }

    /// What looks for stalled threads. To be asked for once, if they are wanted.
    ///
    /// # Errors
    ///
    /// The iterator could not be made.
    pub fn stall_scanner(&mut self) -> Result<StallScanner, LoadError> {
        let wakes = take(&mut self.ebpf, "WAKES")?;
        let name = "stall_iter";
        let iter: &mut Iter = program(&mut self.ebpf, name)?;
        let fd = iter.fd().map_err(|source| LoadError::Program { name, source })?;
        StallScanner::new(fd.as_fd(), wakes)
            .map_err(|source| LoadError::Io { what: "start the iterator of stalled threads", source })
    }

    /// How this kernel names what block requests do.
    pub fn request_names(&self) -> &RequestNames {
        &self.request_names
    }

    /// Block requests that began until `now` (boot clock) and have not ended; for when the hooks are detached.
    pub fn blocks_in_flight(&self, now: u64) -> Vec<Block> {
        block::in_flight(&self.ebpf, now)
    }

    /// Takes a cgroup out of the allow-set, or puts it in.
    ///
    /// # Errors
    ///
    /// The set is full.
    pub fn set_allowed(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        if allow {
            self.allowed.insert(cgroup, 1, 0).map_err(map_error("ALLOWED"))
        } else {
            // It may be gone already.
            let _ = self.allowed.remove(&cgroup);
            Ok(())
        }
    }

    /// What was lost in the kernel since the last call.
    pub fn take_losses(&mut self) -> Vec<Lost> {
        let mut lost = self.losses.take();
        self.look_at_fallbacks();
        for hook in &self.hooks {
            let Some(kind) = hook.lost else { continue };
            let Some(skipped) = self.skipped(hook.name) else { continue };
            // Asked for after the number of skipped runs: too little is told rather than too much, until next time.
            let done = self.done_by_fallback(hook) + self.not_lost.get(hook.name).copied().unwrap_or(0);
            self.losses.take_misses(hook.name, kind, skipped.saturating_sub(done), &mut lost);
        }
        lost
    }

    /// How many runs of a program the kernel has skipped.
    fn skipped(&self, name: &str) -> Option<u64> {
        let Some(Program::BtfTracePoint(program)) = self.ebpf.program(name) else { return None };
        loss::recursion_misses(program.fd().ok()?.as_fd().as_raw_fd())
    }

    /// How often the fallback program of this hook did its work.
    fn done_by_fallback(&self, hook: &Hook) -> u64 {
        match hook.fallback {
            Some((_, index)) => sum(&self.fallback_runs, index),
            None if hook.lost == Some(Kind::Net) => sum(&self.net_runs, net::NESTED),
            None => 0,
        }
    }

    /// A skipped run of a call that is not wanted leaves no trace: neither the program nor its fallback program does anything
    /// about it. But what was lost was skipped twice. So no more is lost than runs of the fallback program were skipped, as
    /// long as that is attached.
    fn look_at_fallbacks(&mut self) {
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

    /// Passes the programs' messages on.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// What the verifier said of each program.
    pub fn reports(&self) -> Vec<ProgramReport> {
        self.load_times
            .iter()
            .map(|&(name, load)| {
                let info = match self.ebpf.program(name) {
                    Some(Program::BtfTracePoint(program)) => program.info().ok(),
                    Some(Program::Iter(program)) => program.info().ok(),
                    _ => None,
                };
                ProgramReport {
                    name: name.to_owned(),
                    verified: info.as_ref().and_then(aya::programs::ProgramInfo::verified_instruction_count),
                    bytes: info.as_ref().and_then(aya::programs::ProgramInfo::size_translated),
                    load,
                }
            })
            .collect()
    }
}

/// What our programs have to expect of this kernel.
pub fn sort(kernel: &Btf) -> Kernels {
    if is_legacy(kernel) {
        Kernels::Legacy
    } else if preemption::is_taken_away(kernel) {
        Kernels::Preemptible
    } else {
        Kernels::All
    }
}

/// Whether this kernel needs the legacy object. The helper came with 5.15; the others that the object does without are
/// older (the current task's type 5.11, task storage for tracing programs 5.13), and have no such mark in the kernel's
/// types.
fn is_legacy(kernel: &Btf) -> bool {
    !kernel.has_function("bpf_task_pt_regs")
}

/// What all CPUs have counted in this place.
fn sum<const N: usize>(counts: &PerCpuArray<MapData, [u64; N]>, index: usize) -> u64 {
    counts.get(&0, 0).map_or(0, |cpus| cpus.iter().map(|counts| counts[index]).sum())
}

/// Those of the hooks that this kernel has. Without the lifecycle's nothing works; others are left out, and
/// said so.
fn available(kernel: &Btf, hooks: Vec<&'static Hook>) -> Result<Vec<&'static Hook>, LoadError> {
    let mut there = Vec::new();
    for hook in hooks {
        if kernel.tracepoint_args(hook.tracepoint).is_some() {
            there.push(hook);
        } else if hook.group == Group::Event {
            tracing::warn!(
                "this kernel has no tracepoint {}: without it, no {}",
                hook.tracepoint,
                hook.without
            );
        } else {
            return Err(LoadError::NoTracepoint { name: hook.tracepoint, without: hook.without });
        }
    }
    Ok(there)
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(LoadError::Missing(name))?
        .try_into()
        .map_err(|source| LoadError::Program { name, source })
}

pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    ebpf.take_map(name).ok_or(LoadError::Missing(name))?.try_into().map_err(map_error(name))
}
