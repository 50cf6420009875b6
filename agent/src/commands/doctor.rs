//! `ktape doctor`: what can be recorded with this kernel and these privileges, and what is missing.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use agent_ebpf::config::{ALTERNATIVES, OPTIONAL, Offsets};
use anyhow::{Context, Result};
use events::Kind;

use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::host_root::HostRoot;
use crate::kernel::btf::Btf;
use crate::kernel::hooks::{HOOKS, Hook, Kernels};
use crate::kernel::{self, SyscallSelection, preemption, uring};
use crate::record::{self, MemoryNeed, Request};
use crate::runtimes::Sockets;
use crate::session::privileges;
use ktape_reader::text::units::size_text;

const EXAMPLES: &str = "\
Examples:
  sudo ktape doctor
  sudo ktape doctor --programs";

/// Options of `ktape doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Load the eBPF programs and print the verifier's figures for each as a Markdown table
    #[arg(long)]
    pub programs: bool,
}

/// Prints the report.
///
/// # Errors
///
/// With `--programs`, the programs cannot be loaded.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut out = Vec::new();
    let code = if args.programs { programs(&mut out)? } else { examine(&mut out)? };
    match std::io::stdout().write_all(&out).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(code),
    }
}

fn examine(out: &mut Vec<u8>) -> Result<ExitCode> {
    let mut healthy = true;
    let mut line = |good: bool, text: String| {
        healthy &= good;
        let mark = if good { "ok     " } else { "MISSING" };
        out.extend_from_slice(format!("{mark} {text}\n").as_bytes());
    };
    line(
        privileges::suffice(privileges::effective()),
        "privileges: root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE".to_owned(),
    );
    if let Some(shortcoming) = privileges::shortcoming(privileges::effective()) {
        line(false, format!("privileges: {shortcoming}"));
    }
    line(
        privileges::in_initial_pid_namespace(),
        "the host's pid namespace (in a container: --pid=host)".to_owned(),
    );
    if privileges::is_confidential() {
        line(false, "the kernel's memory: locked down (lockdown=confidentiality)".to_owned());
    }
    match Btf::of_kernel() {
        Err(error) => line(false, format!("kernel types (BTF): {error}")),
        Ok(btf) => {
            line(true, "kernel types (BTF)".to_owned());
            // A tracepoint can have two programs.
            let support = uring::Support::of(&btf);
            let is_needed = |hook: &&Hook| hook.needed_for != [Kind::Uring] || support.uses(hook);
            let mut tracepoints: Vec<&Hook> = HOOKS.iter().filter(is_needed).collect();
            tracepoints.dedup_by_key(|hook| hook.tracepoint);
            for hook in tracepoints {
                let (name, without) = (hook.tracepoint, hook.without);
                let there = btf.tracepoint_args(name).is_some();
                let text = if there {
                    format!("tracepoint {name}")
                } else {
                    format!("tracepoint {name}: missing; cannot record {without}")
                };
                line(there, text);
            }
            match support {
                uring::Support::Full(_) => {}
                uring::Support::None => line(true, "no io_uring in this kernel".to_owned()),
                uring::Support::Unknown => line(
                    false,
                    "io_uring: the tracepoints of this kernel are not known; cannot record its requests"
                        .to_owned(),
                ),
            }
            let there = |path: &str| btf.offset(path).is_some();
            let replaced = |path: &str| {
                ALTERNATIVES.iter().any(|(a, b)| path == *a && there(b) || path == *b && there(a))
            };
            let is_absent = |path: &&str| !there(path) && !replaced(path) && !uring::is_member(path);
            let absent: Vec<&str> = Offsets::PATHS.iter().copied().filter(is_absent).collect();
            let (optional, absent): (Vec<&str>, Vec<&str>) =
                absent.into_iter().partition(|path| OPTIONAL.iter().any(|(other, _)| other == path));
            line(absent.is_empty(), format!("kernel structs{}{}", sep(&absent), absent.join(", ")));
            for (path, without) in OPTIONAL.iter().filter(|(path, _)| optional.contains(path)) {
                line(true, format!("no {path} in this kernel: {without}"));
            }
            let variant = kernel::kernel_variant(&btf);
            line(true, kernel_programs(variant).to_owned());
            if variant == Kernels::Preemptible {
                line(true, preemption_control(preemption::functions(&btf).is_some()).to_owned());
            }
            if !btf.has_function("bpf_get_socket_ptr_cookie") {
                line(
                    true,
                    "no socket cookies before 5.12: net.sock is another number, which can be reused"
                        .to_owned(),
                );
            }
        }
    }
    match Hierarchy::detect() {
        Ok(hierarchy) => line(
            hierarchy.is_whole(),
            format!(
                "cgroups: {} at {}{}{}",
                hierarchy.name,
                hierarchy.mount.display(),
                if hierarchy.hybrid { ", with v1 controllers" } else { "" },
                if hierarchy.is_whole() {
                    ""
                } else {
                    ": only a part is visible (in a container: --cgroupns=host)"
                },
            ),
        ),
        Err(error) => line(false, format!("cgroups: {error}")),
    }
    match MemoryNeed::by_default() {
        Ok(need) => line(
            true,
            format!(
                "memory: {} for the ring buffers of {} CPUs, and at most {} for the rest of a recording",
                size_text(need.ring_buffers),
                need.cpus,
                size_text(need.rest),
            ),
        ),
        Err(error) => line(false, format!("memory: {error}")),
    }
    if privileges::suffice(privileges::effective()) {
        match load() {
            Ok(prepared) => {
                let reports = prepared.kernel().reports();
                let total: Duration = reports.iter().map(|report| report.load).sum();
                line(
                    true,
                    format!("eBPF programs: {} loaded in {:.0} ms", reports.len(), total.as_secs_f64() * 1e3),
                );
            }
            Err(error) => line(false, format!("eBPF programs: {error:#}")),
        }
    }
    let allowed = privileges::suffice(privileges::effective());
    let verdict = match (healthy, allowed) {
        (true, _) => "ktape can record here",
        (false, true) => "ktape cannot record everything here",
        (false, false) => "ktape cannot record with these privileges; run: sudo ktape doctor",
    };
    writeln!(out, "{verdict}")?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Describes the programs that are used on a kernel.
fn kernel_programs(variant: Kernels) -> &'static str {
    match variant {
        Kernels::Legacy => {
            "programs for kernels before 5.15: all events are recorded, at a higher cost per event"
        }
        Kernels::Preemptible => {
            "programs for kernels from 5.15 on, with fallback programs: this kernel can preempt a program"
        }
        Kernels::All => "programs for kernels from 5.15 on",
    }
}

/// Describes whether the programs can disable preemption, on a kernel that can preempt them.
fn preemption_control(available: bool) -> &'static str {
    if available {
        "the programs disable preemption while they run"
    } else {
        "the programs cannot disable preemption: the kernel skips more of their runs, counted as lost events"
    }
}

fn sep(absent: &[&str]) -> &'static str {
    if absent.is_empty() { "" } else { " without " }
}

fn load() -> Result<record::Prepared> {
    Ok(record::prepare(Request {
        kinds: events::RECORDED.iter().collect(),
        selection: SyscallSelection::All,
        containers: ContainerFilter::default(),
        sockets: Sockets::None,
        host: HostRoot::default(),
        ring_bytes: Some(record::RING_MIN),
        hierarchy: Hierarchy::detect()?,
        stall: Some(Duration::from_secs(1)),
        net_interval: None,
        sample: None,
        tree_pid: None,
        output: None,
        durations: true,
        keep_secrets: false,
        live: false,
        kernel_log: false,
    })?)
}

fn programs(out: &mut Vec<u8>) -> Result<ExitCode> {
    privileges::require()?;
    let prepared = load()?;
    writeln!(out, "| program | instructions verified | bytes | load (ms) |")?;
    writeln!(out, "|---|---:|---:|---:|")?;
    for report in prepared.kernel().reports() {
        let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        writeln!(
            out,
            "| `{}` | {} | {} | {:.1} |",
            report.name,
            number(report.verified),
            number(report.bytes),
            report.load.as_secs_f64() * 1e3
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
