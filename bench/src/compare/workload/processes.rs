//! Workloads of many processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use ktape_tests::cgroup::Cgroup;
use ktape_tests::workload::Workload as Sleepers;

use super::{BenchWorkload, ExpectedEvents, WorkCommands, WorkloadSetup, syscalls};
use crate::compare::machine;

/// Number of cgroups beside the mix.
const CGROUPS: usize = 500;
/// Sleeping processes in each of these cgroups.
const PROCESSES_PER_CGROUP: usize = 40;
/// Number of calls in the mix whose arguments, results and times are compared one by one.
const NOTED_CALLS: usize = 1000;
/// Directories in PATH before the one with the program.
const PATH_MISSES: u64 = 12;
/// One execution in this many searches along PATH, with 25 arguments: as in `bench-load`.
const SEARCH_EVERY: u64 = 4;

pub fn exec_storm(setup: &WorkloadSetup) -> BenchWorkload {
    let (n, cpus) = (setup.units(3_000, 1_000), machine::cpus() as u64);
    let missing = (0..PATH_MISSES).map(|i| format!("/opt/ktape-bench/missing-{i}/bin"));
    let path = missing.chain(["/bin".to_owned()]).collect::<Vec<_>>().join(":");
    let mut words = vec!["env".to_owned(), format!("PATH={path}")];
    words.extend(setup.load_words(&["exec-storm", &n.to_string()]));
    let searches = n.div_ceil(SEARCH_EVERY) * cpus;
    BenchWorkload {
        name: "exec-storm",
        title: format!(
            "on each CPU: execute `true`; one in {SEARCH_EVERY} with 25 arguments, after {PATH_MISSES} directories of PATH"
        ),
        unit: "execution on each CPU",
        units: n,
        expect: vec![
            ExpectedEvents {
                expression: "evt.category = exec and exec.args contains \"ktape-bench-storm\"".to_owned(),
                kind: "exec",
                count: n * cpus,
            },
            syscalls(
                "evt.type = execve and evt.rawres < 0 and evt.arg.filename startswith \"/opt/ktape-bench/\""
                    .to_owned(),
                searches * PATH_MISSES,
            ),
        ],
        work: WorkCommands::Gated(vec![words]),
        _beside: Vec::new(),
    }
}

pub fn mix(setup: &WorkloadSetup) -> Result<BenchWorkload> {
    let (n, cpus) = (setup.units(500, 200), machine::cpus() as u64);
    let sleeping = start_sleeping_processes(&setup.program)?;
    let path = setup.file("mix");
    fs::write(&path, [b'x'; 3000]).context("cannot write the file of the mix")?;
    Ok(BenchWorkload {
        name: "mix",
        title: format!(
            "on each CPU: execute a process, read a file twenty times; beside {CGROUPS} cgroups with {} processes in all",
            CGROUPS * PROCESSES_PER_CGROUP
        ),
        unit: "execution on each CPU",
        units: n,
        expect: vec![
            ExpectedEvents {
                expression: "evt.category = exec and exec.args contains \"bench nothing\"".to_owned(),
                kind: "exec",
                count: n * cpus,
            },
            syscalls(format!("evt.type = openat and evt.arg.filename = \"{path}\""), 20 * n * cpus),
        ],
        work: WorkCommands::Noted(
            setup.words(&["mix", &n.to_string(), &path]),
            setup.words(&["noted", &NOTED_CALLS.to_string(), "SEED", &setup.file("noted")]),
        ),
        _beside: vec![Box::new(sleeping)],
    })
}

/// Sleeping processes in cgroups.
struct SleepingProcesses {
    // Fields drop in order: a cgroup can be removed only after its processes have exited.
    sleepers: Vec<Sleepers>,
    _cgroups: Vec<Arc<Cgroup>>,
}

fn start_sleeping_processes(program: &Path) -> Result<SleepingProcesses> {
    let mut all = SleepingProcesses { sleepers: Vec::new(), _cgroups: Vec::new() };
    for i in 0..CGROUPS {
        let cgroup = Arc::new(Cgroup::make(&format!("/ktape-bench/{i}")));
        // The shell enters the cgroup, so that all processes start in it.
        let script = format!(
            "echo $$ >{}/cgroup.procs && exec {} sleepers {PROCESSES_PER_CGROUP}",
            cgroup.dir().display(),
            program.display()
        );
        all.sleepers.push(Sleepers::start(Path::new("/bin/sh"), &["-c", &script]));
        all._cgroups.push(cgroup);
    }
    for sleepers in &mut all.sleepers {
        let line = sleepers.line();
        if line != "READY" {
            bail!("the sleeping processes failed to start: {line}");
        }
    }
    Ok(all)
}

impl Drop for SleepingProcesses {
    fn drop(&mut self) {
        for sleepers in self.sleepers.drain(..) {
            sleepers.finish();
        }
    }
}
