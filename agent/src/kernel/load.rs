//! Loads the programs into the kernel, step by step: read-only globals, object, maps, verification.

use agent_ebpf::config::NO_HIERARCHY;
use agent_ebpf::records::{LossKey, stage};
use agent_ebpf::spec::Spec;
use aya::maps::{Array, HashMap, MapData, PerCpuHashMap, PerCpuValues};
use aya::{Ebpf, EbpfLoader, Endianness};
use aya_log::EbpfLogger;
use events::Kind;

use super::block::{self, RequestNames};
use super::btf::{self, Btf};
use super::config::{self, Globals};
use super::error::{LoadError, map_error};
use super::hooks::{self, Group, Hook, Kernels};
use super::loss::{LossCounters, PodLossKey};
use super::maps::take;
use super::programs::{LoadedPrograms, SOCKET_ITERATOR};
use super::reader_set::ReaderSet;
use super::ring_buffers::{RingBuffers, create_ring_buffers, online_cpus};
use super::settings::{Settings, SyscallSelection};
use super::verify::{self, ProgramToLoad};
use super::{casts, preemption};

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
        let bytes = btf::read()?;
        // aya reads them too, which takes longer. Where no thread can be started, it does so later.
        let parsing = std::thread::Builder::new().name("ktape-load".to_owned()).spawn({
            let bytes = bytes.clone();
            move || aya::Btf::parse(&bytes, Endianness::default())
        });
        let kernel = Btf::parse(bytes.clone())?;
        let variant = kernel_variant(&kernel);
        let cpus = online_cpus();
        let globals = config::globals(settings, &kernel, variant, cpus)?;
        let hooks = available(&kernel, hooks::needed(&settings.kinds, &settings.selection, variant))?;
        let object = object(&kernel, variant);
        let btf = match parsing {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            Err(_) => aya::Btf::parse(&bytes, Endianness::default())?,
        };
        let mut ebpf = create_maps(&object, &btf, settings, &globals, variant)?;
        let (events, events_map) = create_ring_buffers(&mut ebpf, "EVENTS", cpus, settings.ring_bytes)?;
        let (lifecycle, lifecycle_map) =
            create_ring_buffers(&mut ebpf, "LIFECYCLE", cpus, settings.lifecycle_bytes)?;
        fill_specs(&mut ebpf, &settings.selection)?;
        let allowed = fill_allowed(&mut ebpf, "ALLOWED", settings.cgroups.as_deref().unwrap_or_default())?;
        let allowed_io = fill_allowed(&mut ebpf, "ALLOWED_IO", &settings.io_cgroups)?;
        let losses = preallocate_losses(&mut ebpf)?;
        let load_times = verify::load(&mut ebpf, &btf, &programs_to_load(&hooks, settings))?;
        let log = if settings.kernel_log { Some(EbpfLogger::init(&mut ebpf)?) } else { None };

        let readers = Some(ReaderSet::new(take(&mut ebpf, "READERS")?));
        let programs = Self {
            allowed,
            allowed_io,
            readers,
            losses: LossCounters::new(losses),
            net_runs: take(&mut ebpf, "NET_RUNS")?,
            fallback_runs: take(&mut ebpf, "FALLBACK_RUNS")?,
            not_lost: rustc_hash::FxHashMap::default(),
            ebpf,
            hooks,
            request_names: RequestNames::of(&kernel),
            legacy: variant == Kernels::Legacy,
            links: Vec::new(),
            log,
            load_times,
            _outer: vec![events_map, lifecycle_map],
        };
        Ok((programs, RingBuffers { events, lifecycle }))
    }
}

/// The object for this kernel, with the numbers of the kernel's functions and types filled in.
fn object(kernel: &Btf, variant: Kernels) -> Vec<u8> {
    let mut object = (if variant == Kernels::Legacy { LEGACY_OBJECT } else { OBJECT }).to_vec();
    let functions = (variant == Kernels::Preemptible).then(|| preemption::functions(kernel)).flatten();
    preemption::set_functions(&mut object, functions.as_ref());
    casts::set(&mut object, kernel);
    object
}

/// Creates the maps, as large as these settings need them, and sets the read-only globals.
fn create_maps(
    object: &[u8],
    btf: &aya::Btf,
    settings: &Settings,
    globals: &Globals,
    variant: Kernels,
) -> Result<Ebpf, LoadError> {
    let config = globals.config();
    // 0 is off, 5 logs everything; the verifier removes disabled code.
    let log_level = if settings.kernel_log { 5u8 } else { 0 };
    let block_entries = block::entries(settings.kinds.contains(&Kind::Block), config.rings);
    let sockets = if config.net == 0 { UNUSED_MAP } else { SOCKETS_MAX };
    let mut loader = EbpfLoader::new();
    if config.filter_cgroups == 0 || config.io_hierarchy == NO_HIERARCHY {
        loader.map_max_entries("ALLOWED_IO", UNUSED_MAP);
    }
    if variant == Kernels::Legacy {
        let tasks = config::tasks_max();
        let sched = if config.sched == 0 { UNUSED_MAP } else { tasks };
        loader.map_max_entries("TASKS", tasks).map_max_entries("SCHED", sched);
    }
    let ebpf = loader
        .btf(Some(btf))
        .override_global("AYA_LOG_LEVEL", &log_level, true)
        .allow_unsupported_maps()
        .override_global("CONFIG", globals, true)
        .map_max_entries("EVENTS", config.rings)
        .map_max_entries("LIFECYCLE", config.rings)
        .map_max_entries("BLOCK_BIOS", block_entries)
        .map_max_entries("BLOCK_REQUESTS", block_entries)
        .map_max_entries("SOCKETS", sockets)
        .load(object)?;
    Ok(ebpf)
}

/// Fills the map of what to read of each system call.
fn fill_specs(ebpf: &mut Ebpf, selection: &SyscallSelection) -> Result<(), LoadError> {
    // Not taken out: programs are loaded with the descriptors of maps, which have to be open then.
    let map = ebpf.map_mut("SPECS").ok_or(LoadError::Missing("SPECS"))?;
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
    ebpf: &mut Ebpf,
    name: &'static str,
    cgroups: &[u64],
) -> Result<HashMap<MapData, u64, u8>, LoadError> {
    let mut allowed: HashMap<MapData, u64, u8> = take(ebpf, name)?;
    for cgroup in cgroups {
        allowed.insert(cgroup, 1, 0).map_err(map_error(name))?;
    }
    Ok(allowed)
}

/// The loss map, with an entry for each kind and stage: counting must not fail for lack of an entry.
fn preallocate_losses(ebpf: &mut Ebpf) -> Result<PerCpuHashMap<MapData, PodLossKey, u64>, LoadError> {
    let count_cpus = |source| LoadError::Io { what: "count CPUs", source };
    let mut losses: PerCpuHashMap<MapData, PodLossKey, u64> = take(ebpf, "LOSSES")?;
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
    if is_legacy(kernel) {
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
fn is_legacy(kernel: &Btf) -> bool {
    !kernel.has_function("bpf_task_pt_regs")
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
