//! The kernel's choice of a process to kill when memory runs out, and the limit that was reached.

use agent_ebpf::records::Header;
use agent_ebpf::records::oom::{Oom, scope};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;

use crate::maps::{self, LIFECYCLE, config};
use crate::task::{Task, has, load, now, probe, probe_cgroup_id};

/// How many cgroups above a victim's are looked at.
const LEVELS: u32 = 12;
/// A counter is at its limit when less than this, and a thirty-second of the limit, is missing: the kernel charges in
/// batches, and other CPUs free meanwhile.
const SLACK_PAGES: u64 = 64;
/// `PAGE_COUNTER_MAX`, whatever the size of a page.
const NO_LIMIT: u64 = (i64::MAX as u64) >> 16;

/// `oom:mark_victim` (task, uid), or (pid) before 6.8.
#[btf_tracepoint(function = "mark_victim")]
pub fn mark_victim(ctx: BtfTracePointContext) -> i32 {
    let time = now();
    let trigger = Task::current();
    let mut oom = Oom {
        trigger_cgroup: trigger.cgroup(),
        trigger_pid: trigger.pid(),
        trigger_tid: trigger.tid(),
        trigger_uid: trigger.uid(),
        uid: u32::MAX,
        ..Oom::default()
    };
    let limited;
    if config!(oom_has_task) != 0 {
        let victim = Task(ctx.arg::<*mut u8>(0));
        oom.head = victim.header(Kind::Oom as u8, 0, 0, time, victim.cgroup());
        oom.uid = victim.uid();
        measure(victim, &mut oom);
        limited = find_limit(victim);
        oom.limited = id_of(limited.memcg, victim);
    } else {
        // The kernel passes only the process id; the agent adds the rest.
        // SAFETY: no arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
        let pid = ctx.arg::<u64>(0) as u32;
        oom.head = Header { time, pid, tid: pid, cpu, kind: Kind::Oom as u8, ..Header::default() };
        // The thread that allocates is below the limit, too.
        limited = find_limit(trigger);
        oom.limited = id_of(limited.memcg, trigger);
    }
    if !limited.memcg.is_null() {
        oom.scope = scope::CGROUP;
        oom.memory = limited.usage;
        oom.limit = limited.max;
        oom.limited_known = 1;
    } else if limited.searched {
        oom.scope = scope::HOST;
    }
    if config!(filter_cgroups) != 0
        && !maps::allowed(oom.head.cgroup)
        && !maps::allowed(oom.trigger_cgroup)
        && !maps::allowed(oom.limited)
    {
        return 0;
    }
    let Some(slot) = maps::reserve::<Oom>(&LIFECYCLE, Kind::Oom as u8, oom.head.cgroup) else {
        return 0;
    };
    // SAFETY: reserved for this type.
    unsafe { slot.as_ptr().write(oom) };
    slot.submit();
    0
}

/// The victim's memory, as in the kernel's own message.
#[inline(always)]
fn measure(victim: Task, oom: &mut Oom) {
    let signal: *mut u8 = victim.pointer(config!(offsets.task_signal));
    oom.score_adj = i32::from(load::<i16>(signal, config!(offsets.signal_score_adj)));
    let mm: *mut u8 = victim.pointer(config!(offsets.task_mm));
    let rss = config!(offsets.mm_rss);
    if mm.is_null() || !has(rss) || config!(rss_stride) == 0 {
        return;
    }
    let count = |index: u32| probe::<i64>(mm, rss + index * config!(rss_stride) + config!(rss_count));
    oom.pages = [count(0), count(1), count(2), count(3)];
    oom.page_tables = probe(mm, config!(offsets.mm_pgtables));
    oom.counted = 1;
}

/// A memory cgroup, at its limit.
struct Limit {
    /// Null if none is.
    memcg: *mut u8,
    usage: u64,
    max: u64,
    /// Whether the cgroups above the task could be looked at.
    searched: bool,
}

/// 1 if `a` is below `b`, 0 if not, of numbers below 2^63. Through memory, so that the compiler makes no branch of it;
/// always the same, since what the stack has room for is less than this program would like.
#[inline(always)]
fn is_below(a: u64, b: u64, scratch: &mut u64) -> u64 {
    let at = &raw mut *scratch;
    // SAFETY: a reference.
    unsafe {
        at.write_volatile(a.wrapping_sub(b));
        at.read_volatile() >> 63
    }
}

/// Looks for the limit that the kill is for: the kernel marks all cgroups below it meanwhile, so it is
/// the highest one with a mark; without marks, the first that is full.
#[inline(always)]
fn find_limit(task: Task) -> Limit {
    let mut found = Limit { memcg: core::ptr::null_mut(), usage: 0, max: 0, searched: false };
    let subsys = config!(memory_subsys);
    if subsys == 0 || !has(config!(offsets.memcg_usage)) || !has(config!(offsets.memcg_max)) {
        return found;
    }
    let set: *mut u8 = task.pointer(config!(offsets.task_cgroups));
    let mut css: *mut u8 = probe(set, config!(offsets.css_set_subsys) + (subsys - 1) * 8);
    found.searched = !css.is_null();
    // Bits and masks instead of conditions: the verifier walks through what follows a condition once for each outcome, and
    // those of 6.1 and before do not notice that they come to the same. So twelve levels took it 500,000 instructions.
    let (mut marked, mut full, mut scratch) = (0u64, 0u64, 0u64);
    for _ in 0..LEVELS {
        if css.is_null() {
            break;
        }
        let memcg = css.wrapping_sub(config!(offsets.memcg_css) as usize);
        let under = if has(config!(offsets.memcg_under_oom)) {
            let marks: u32 = probe(memcg, config!(offsets.memcg_under_oom));
            is_below(0, u64::from(marks), &mut scratch)
        } else {
            0
        };
        let usage: u64 = probe(memcg, config!(offsets.memcg_usage));
        let max: u64 = probe(memcg, config!(offsets.memcg_max));
        let reached = usage.wrapping_add(SLACK_PAGES).wrapping_add(max >> 5);
        let is_full = is_below(max, NO_LIMIT, &mut scratch) & (is_below(reached, max, &mut scratch) ^ 1);
        let mask = 0u64.wrapping_sub(under | (is_full & ((marked | full) ^ 1)));
        found.memcg = (found.memcg as u64 ^ ((memcg as u64 ^ found.memcg as u64) & mask)) as *mut u8;
        marked |= under;
        full |= is_full;
        css = probe(css, config!(offsets.css_parent));
    }
    // Once more: there is no room on the stack to carry them along.
    if !found.memcg.is_null() {
        found.usage = probe(found.memcg, config!(offsets.memcg_usage));
        found.max = probe(found.memcg, config!(offsets.memcg_max));
    }
    found
}

/// The id of a memory cgroup in the chosen hierarchy: its own, or that of the cgroup which lies at the same place above
/// the task there, and has the same name. 0 if there is none.
#[inline(always)]
fn id_of(memcg: *mut u8, task: Task) -> u64 {
    if memcg.is_null() {
        return 0;
    }
    let cgroup: *mut u8 = probe(memcg, config!(offsets.memcg_css) + config!(offsets.css_cgroup));
    let root: *mut u8 = probe(cgroup, config!(offsets.cgroup_root));
    if probe::<u32>(root, config!(offsets.root_hierarchy)) == config!(hierarchy) {
        return probe_cgroup_id(cgroup);
    }
    if !has(config!(offsets.cgroup_level)) || !has(config!(offsets.cgroup_self)) {
        return 0;
    }
    let set: *mut u8 = task.pointer(config!(offsets.task_cgroups));
    let mut other: *mut u8 = if config!(cgroup_subsys) == 0 {
        probe(set, config!(offsets.css_set_dfl))
    } else {
        let css: *mut u8 = probe(set, config!(offsets.css_set_subsys) + (config!(cgroup_subsys) - 1) * 8);
        probe(css, config!(offsets.css_cgroup))
    };
    let level: i32 = probe(cgroup, config!(offsets.cgroup_level));
    for _ in 0..LEVELS {
        if other.is_null() || probe::<i32>(other, config!(offsets.cgroup_level)) <= level {
            break;
        }
        let css: *mut u8 = probe(other, config!(offsets.cgroup_self) + config!(offsets.css_parent));
        if css.is_null() {
            return 0;
        }
        other = probe(css, config!(offsets.css_cgroup));
    }
    if other.is_null()
        || probe::<i32>(other, config!(offsets.cgroup_level)) != level
        || name_of(other) != name_of(cgroup)
    {
        return 0;
    }
    probe_cgroup_id(other)
}

/// The start of a cgroup's name.
#[inline(always)]
fn name_of(cgroup: *mut u8) -> [u64; 8] {
    let mut name = [0u64; 8];
    let kn: *mut u8 = probe(cgroup, config!(offsets.cgroup_kn));
    let text: *mut u8 = probe(kn, config!(offsets.kn_name));
    // SAFETY: 64 bytes; the helper checks the source.
    unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), 64, text.cast()) };
    name
}
