//! Loads the programs into the kernel, step by step: read-only globals, object, maps, verification.

use std::os::fd::AsFd;
use std::thread::{Scope, ScopedJoinHandle};

use agent_ebpf::records::cpu::{FILES_DEFINED, FILES_OPEN};
use agent_ebpf::records::{LossKey, stage};
use agent_ebpf::spec::Spec;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuHashMap, PerCpuValues};
use aya_log::EbpfLogger;
use events::Kind;

use super::block::{self, RequestNames};
use super::bpf;
use super::btf::{Btf, RawTypes};
use super::casts::Casts;
use super::config::{self, Constants, Rings};
use super::cpu_rings::{self, segments};
use super::error::{LoadError, map_error};
use super::hooks::{self, Group, Hook, Kernels};
use super::loss::{LossCounters, PodLossKey};
use super::maps::take;
use super::object::Object;
use super::preemption;
use super::programs::{LoadedPrograms, SOCKET_ITERATOR};
use super::reader_set::ReaderSet;
use super::ring_buffer::RingBuffer;
use super::ring_buffers::{RingBuffers, cpu_rings, create_ring_buffers, online_cpus, possible_cpus};
use super::settings::{Settings, SyscallSelection};
use super::uring;
use super::verify::{self, LoadedProgram, ProgramToLoad};

/// Open TCP sockets whose owner is kept, at most: 4 MiB of kernel memory.
const SOCKETS_MAX: u32 = 32768;
/// Entries of a preallocated map that is not needed.
const UNUSED_MAP: u32 = 64;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/ktape.bpf.o");
/// For kernels that need it, see [`is_legacy`].
static LEGACY_OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/ktape-legacy.bpf.o");

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodSpec(Spec);

// SAFETY: `Spec` is repr(C) and made of u8 alone.
unsafe impl aya::Pod for PodSpec {}

impl LoadedPrograms {
    /// Loads the programs that `settings` needs. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// The kernel lacks a required feature, or refuses to load a program.
    pub fn load(settings: &Settings) -> Result<(Self, RingBuffers), LoadError> {
        let types = RawTypes::of_kernel()?;
        let legacy = is_legacy(&types);
        let cpus = online_cpus();
        let segments = segments(settings.ring_bytes.into());
        let counts = Rings { shared: cpus, of_cpus: cpu_rings(), segments };
        std::thread::scope(|scope| {
            // What takes long is done at the same time: indexing the kernel's types, creating the object's maps, then the
            // ring buffers and verifying the programs.
            let kernel = spawn(scope, || Btf::parse(types))?;
            let file = if legacy { LEGACY_OBJECT } else { OBJECT };
            let (mut object, unfinished) = Object::create(file, &entries(settings, legacy, counts))?;
            let outer = [take_outer(&mut object, "EVENTS")?, take_outer(&mut object, "LIFECYCLE")?];
            let (states, cpu_rings) = cpu_rings::map(&object, possible_cpus(), counts)?;
            let rings = spawn(scope, || create_rings(outer, settings, cpus))?;
            fill_specs(&mut object, &settings.selection)?;
            let kernel = join(kernel)?;
            uring::fill_lookups(&mut object, &kernel)?;
            let variant = kernel_variant(&kernel);
            let casts = Casts::of(&kernel);
            // The legacy programs read through a helper, whatever the pointer is.
            let numbers = casts.are_made() || variant == Kernels::Legacy;
            let constants = config::constants(settings, &kernel, variant, counts, numbers)?;
            // 0 is off, 5 logs everything; the verifier removes disabled code.
            let log_level = if settings.kernel_log { 5u8 } else { 0 };
            object.finish(unfinished, &[("AYA_LOG_LEVEL", &[log_level])])?;
            fill_in_numbers(&mut object, &kernel, variant, &casts, &constants);
            let mut needed = hooks::needed(&settings.kinds, &settings.selection, variant);
            let support = uring::Support::of(&kernel);
            needed.retain(|hook| support.uses(hook));
            if support == uring::Support::Unknown && settings.kinds.contains(&Kind::Uring) {
                tracing::warn!("this kernel's hooks of io_uring are not known: cannot record its requests");
            }
            needed.retain(|hook| settings.durations || hook.tracepoint != "sys_enter");
            let hooks = available(&kernel, needed)?;
            let programs = verify::load(&object, &kernel, &programs_to_load(&hooks, settings))?;
            object.drop_programs();
            let ([events, lifecycle], outer) = join(rings)?;
            let log = if settings.kernel_log { Some(kernel_log(&programs)?) } else { None };
            let cgroups = settings.cgroups.as_deref().unwrap_or_default();
            let programs = Self {
                allowed: fill_allowed(&mut object, "ALLOWED", cgroups)?,
                allowed_io: fill_allowed(&mut object, "ALLOWED_IO", &settings.io_cgroups)?,
                readers: Some(ReaderSet::new(take(&mut object, "READERS")?, states.clone())),
                losses: LossCounters::new(preallocate_losses(&mut object)?),
                net_runs: take(&mut object, "NET_RUNS")?,
                fallback_runs: take(&mut object, "FALLBACK_RUNS")?,
                not_lost: rustc_hash::FxHashMap::default(),
                cpus: states,
                object,
                programs,
                hooks,
                request_names: RequestNames::of(&kernel),
                legacy: variant == Kernels::Legacy,
                links: Vec::new(),
                log,
                _outer: outer,
            };
            Ok((programs, RingBuffers { cpus: cpu_rings, events, lifecycle }))
        })
    }
}

/// Starts a thread of the start.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, LoadError> {
    let thread = std::thread::Builder::new().name("ktape-load".to_owned()).spawn_scoped(scope, work);
    thread.map_err(|source| LoadError::Io { what: "start a thread", source })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Takes an array of ring buffers out of the object.
fn take_outer(object: &mut Object, name: &'static str) -> Result<MapData, LoadError> {
    match object.take_map(name) {
        Some(Map::ArrayOfMaps(map)) => Ok(map),
        _ => Err(LoadError::Missing(name)),
    }
}

/// Creates the ring buffers and puts them into the arrays for events and lifecycle events, at the same time: both wait for
/// the kernel.
fn create_rings(
    [events, lifecycle]: [MapData; 2],
    settings: &Settings,
    cpus: u32,
) -> Result<([Vec<RingBuffer>; 2], [MapData; 2]), LoadError> {
    let rings = std::thread::scope(|scope| {
        let other =
            spawn(scope, || create_ring_buffers(&lifecycle, "LIFECYCLE", cpus, settings.lifecycle_bytes))?;
        let events = create_ring_buffers(&events, "EVENTS", cpus, settings.event_bytes)?;
        Ok::<_, LoadError>([events, join(other)?])
    })?;
    Ok((rings, [events, lifecycle]))
}

/// The numbers of entries that differ from the object's own.
fn entries(settings: &Settings, legacy: bool, counts: Rings) -> Vec<(&'static str, u32)> {
    let cpus = counts.shared;
    let block_entries = block::entries(settings.kinds.contains(&Kind::Block), cpus);
    let sockets = if settings.kinds.contains(&Kind::Net) { SOCKETS_MAX } else { UNUSED_MAP };
    let mut entries = vec![
        ("CPUS", possible_cpus()),
        ("DEFINED", possible_cpus() * FILES_DEFINED),
        ("OPEN_FILES", possible_cpus() * FILES_OPEN),
        ("SEGMENTS", counts.of_cpus * counts.segments),
        ("EVENTS", cpus),
        ("LIFECYCLE", cpus),
        ("BLOCK_BIOS", block_entries),
        ("BLOCK_REQUESTS", block_entries),
        ("SOCKETS", sockets),
        ("URING_REQUESTS", uring::entries(settings.kinds.contains(&Kind::Uring), cpus)),
    ];
    if settings.cgroups.is_none() {
        entries.push(("ALLOWED", UNUSED_MAP));
    }
    if settings.cgroups.is_none() || settings.io_hierarchy.is_none() {
        entries.push(("ALLOWED_IO", UNUSED_MAP));
    }
    if legacy {
        let tasks = config::tasks_max();
        entries
            .extend([("TASKS", tasks), ("SCHED", if settings.needs_sched() { tasks } else { UNUSED_MAP })]);
    }
    entries
}

/// Fills the numbers of the kernel's functions and types into the programs.
fn fill_in_numbers(
    object: &mut Object,
    kernel: &Btf,
    variant: Kernels,
    casts: &Casts,
    constants: &Constants,
) {
    let functions = (variant == Kernels::Preemptible).then(|| preemption::functions(kernel)).flatten();
    for instructions in object.instructions_mut() {
        preemption::set_functions(instructions, functions.as_ref());
        casts.fill(instructions);
        constants.fill(instructions);
    }
}

/// Opens the programs' log: one map, which all programs that log have.
fn kernel_log(programs: &[LoadedProgram]) -> Result<EbpfLogger<&'static dyn log::Log>, LoadError> {
    let ids = programs.iter().filter_map(|program| Some(bpf::program_info(program.fd.as_fd()).ok()?.id));
    let mut result = Err(aya_log::Error::MapNotFound);
    for id in ids {
        result = EbpfLogger::init_from_id(id);
        if !matches!(result, Err(aya_log::Error::MapNotFound)) {
            break;
        }
    }
    Ok(result?)
}

/// Fills the map of what to read of each system call.
fn fill_specs(object: &mut Object, selection: &SyscallSelection) -> Result<(), LoadError> {
    // Not taken out: programs are loaded with the descriptors of maps, which have to be open then.
    let map = object.map_mut("SPECS").ok_or(LoadError::Missing("SPECS"))?;
    let mut specs: Array<&mut MapData, PodSpec> = map.try_into().map_err(map_error("SPECS"))?;
    for (index, spec) in config::specs(selection).into_iter().enumerate() {
        if spec != Spec::default() {
            specs.set(index as u32, PodSpec(spec), 0).map_err(map_error("SPECS"))?;
        }
    }
    Ok(())
}

/// An allow-set, with these cgroups in it.
fn fill_allowed(
    object: &mut Object,
    name: &'static str,
    cgroups: &[u64],
) -> Result<HashMap<MapData, u64, u8>, LoadError> {
    let mut allowed: HashMap<MapData, u64, u8> = take(object, name)?;
    for cgroup in cgroups {
        allowed.insert(cgroup, 1, 0).map_err(map_error(name))?;
    }
    Ok(allowed)
}

/// The loss map, with an entry for each kind and stage: counting must not fail for lack of an entry.
fn preallocate_losses(object: &mut Object) -> Result<PerCpuHashMap<MapData, PodLossKey, u64>, LoadError> {
    let count_cpus = |source| LoadError::Io { what: "count CPUs", source };
    let mut losses: PerCpuHashMap<MapData, PodLossKey, u64> = take(object, "LOSSES")?;
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| count_cpus(source))?;
    for kind in events::KINDS {
        for stage in [stage::RING, stage::STORAGE, stage::MAP, stage::SKIPPED] {
            let key = LossKey { cgroup: u64::MAX, kind: kind as u8, stage, reserved: [0; 3] };
            let zero = PerCpuValues::try_from(vec![0u64; cpus]).map_err(count_cpus)?;
            losses.insert(PodLossKey(key), zero, 0).map_err(map_error("LOSSES"))?;
        }
    }
    Ok(losses)
}

/// The hooks' programs, then the iterators.
fn programs_to_load(hooks: &[&'static Hook], settings: &Settings) -> Vec<ProgramToLoad> {
    let mut programs: Vec<ProgramToLoad> = hooks.iter().map(|hook| ProgramToLoad::Hook(hook)).collect();
    programs.push(ProgramToLoad::Iterator { name: "task_iter", over: "task" });
    if settings.stalls().is_some() {
        programs.push(ProgramToLoad::Iterator { name: "stall_iter", over: "task" });
    }
    if settings.kinds.contains(&Kind::Net) {
        programs.push(ProgramToLoad::Iterator { name: SOCKET_ITERATOR, over: "task_file" });
    }
    programs
}

/// Which programs this kernel needs beside those for all kernels.
pub fn kernel_variant(kernel: &Btf) -> Kernels {
    if is_legacy(kernel.raw()) {
        Kernels::Legacy
    } else if preemption::preempts_programs(kernel) {
        Kernels::Preemptible
    } else {
        Kernels::All
    }
}

/// Whether this kernel needs the legacy object. The helper came with 5.15. The other features that the legacy object
/// does without are older (the current task's type 5.11, task storage for tracing programs 5.13) and cannot be found in
/// the kernel's types.
fn is_legacy(types: &RawTypes) -> bool {
    !types.mention("bpf_task_pt_regs")
}

/// The hooks whose tracepoints this kernel has. Lifecycle and syscall hooks are required; if others are missing, a
/// warning lists the events that will not be recorded.
fn available(kernel: &Btf, hooks: Vec<&'static Hook>) -> Result<Vec<&'static Hook>, LoadError> {
    let mut found = Vec::new();
    for hook in hooks {
        if kernel.tracepoint_args(hook.tracepoint).is_some() {
            found.push(hook);
        } else if hook.group == Group::Event {
            tracing::warn!(
                "this kernel has no tracepoint {}: cannot record {}",
                hook.tracepoint,
                hook.without
            );
        } else {
            return Err(LoadError::NoTracepoint { name: hook.tracepoint, without: hook.without });
        }
    }
    Ok(found)
}
