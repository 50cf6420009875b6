//! Resource samples: a thread that reads the files of cgroups and `/proc` at regular intervals and sends rows to the
//! drain, which never waits for it. `docs/samples.md` describes each number, its source and its age.

mod cgroup;
mod cgroup_files;
mod cgroup_tree;
mod disk;
mod fds;
mod file;
mod fs;
mod host;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use events::Kind;

use crate::agent_events::{AgentEvent, EventSender};
use crate::background::{Background, Beat};
use crate::clock::boot_ns;
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::host_root::HostRoot;
use cgroup::{CgroupReader, Reading};
use cgroup_files::CgroupFiles;
use cgroup_tree::CgroupTree;
use disk::Disks;
use file::thread_cpu;
use fs::FileSystems;
use host::Host;
use ktape_reader::containers;

/// CPU time that this thread may use, in millionths of one CPU. The documented limit is 0.5 %; a round overruns a little.
const CPU_SHARE: u64 = 4_500;
/// Notifications of new cgroups that may be queued; if there are more, all cgroups are listed again.
const NOTIFICATIONS_MAX: usize = 1024;
/// Time between two listings of all cgroups, ns.
const RESCAN_INTERVAL: u64 = 60_000_000_000;
/// The longest duration of the last round; the end of a capture waits for it.
const LAST_ROUND_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the first and the last round wait for answers of file systems.
const LAST_STATFS_TIMEOUT: Duration = Duration::from_millis(30);
/// Rows that the first round sends before it pauses, so that the drain can take them.
const BURST_ROWS: usize = 512;

/// What is sampled, and how often.
#[derive(Clone, Debug)]
pub struct SamplerConfig {
    /// Time between two rounds.
    pub every: Duration,
    /// The kinds of samples.
    pub kinds: Vec<Kind>,
    /// The hierarchy that identifies cgroups.
    pub hierarchy: Hierarchy,
    /// The containers to sample; it does not apply to the rows of the host, disks and file systems.
    pub filter: ContainerFilter,
    /// The root of the host's file system.
    pub host: HostRoot,
}

/// A cgroup that was created during the recording.
#[derive(Clone, Debug)]
pub struct NewCgroup {
    /// Its id.
    pub id: u64,
    /// When it was created, boot ns.
    pub time: u64,
    /// Its path as in kernel events.
    pub path: Vec<u8>,
}

/// Notifies the sampler of new cgroups.
#[derive(Clone, Debug)]
pub struct CgroupNotifier {
    created: SyncSender<NewCgroup>,
    missed: Arc<AtomicBool>,
}

impl CgroupNotifier {
    /// A cgroup was created.
    pub fn created(&self, cgroup: NewCgroup) {
        if self.created.try_send(cgroup).is_err() {
            self.missed();
        }
    }

    /// Notifications may have been missed: the next round lists all cgroups.
    pub fn missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }
}

/// The sampler's end of a [`CgroupNotifier`].
#[derive(Debug)]
struct CgroupNotifications {
    created: Receiver<NewCgroup>,
    missed: Arc<AtomicBool>,
}

/// Starts the thread. Without notifications, it finds new cgroups within a minute.
///
/// # Errors
/// The system refuses another thread, or the cgroup hierarchy is not mounted any more.
pub fn start(config: SamplerConfig, events: EventSender) -> io::Result<(Background, CgroupNotifier)> {
    let (sender, created) = sync_channel(NOTIFICATIONS_MAX);
    let missed = Arc::new(AtomicBool::new(true));
    let notifier = CgroupNotifier { created: sender, missed: missed.clone() };
    let files = CgroupFiles::detect(&config.hierarchy)?;
    let thread = Background::start("ktape-sample", move |beat| {
        crate::background::prefer_this_thread();
        Sampler::new(config, files, CgroupNotifications { created, missed }, events).run(beat);
    })?;
    Ok((thread, notifier))
}

/// The kind of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Sends all rows.
    First,
    /// Sends rows that have changed, within the budget.
    Usual,
    /// Sends all rows, until [`LAST_ROUND_TIMEOUT`].
    Last,
}

/// The state of the thread.
struct Sampler {
    config: SamplerConfig,
    notifications: CgroupNotifications,
    events: EventSender,
    reader: CgroupReader,
    tree: CgroupTree,
    /// Cgroups that are left in this sweep, which goes from the last to the first, so that children come first.
    sweep: usize,
    /// When all cgroups were last listed, boot ns.
    scanned: u64,
    host: Option<Host>,
    disks: Option<Disks>,
    file_systems: Option<FileSystems>,
    /// CPU time left for this round, ns; negative after an overrun.
    left: i64,
    /// CPU time of host, disks and file systems in the last round, ns.
    host_cost: i64,
}

impl Sampler {
    fn new(
        config: SamplerConfig,
        files: CgroupFiles,
        notifications: CgroupNotifications,
        events: EventSender,
    ) -> Self {
        let has = |kind| config.kinds.contains(&kind);
        let host = has(Kind::SampleHost).then(Host::new);
        // Samples of cgroups need to know which disks are stacked on others, so that I/O is counted once.
        let disks = (has(Kind::SampleDisk) || has(Kind::Sample)).then(Disks::new);
        let file_systems = has(Kind::SampleFs).then(|| FileSystems::new(&config.host));
        Self {
            config,
            notifications,
            events,
            reader: CgroupReader::new(files, max_open()),
            tree: CgroupTree::default(),
            sweep: 0,
            scanned: 0,
            host,
            disks,
            file_systems,
            left: 0,
            host_cost: 0,
        }
    }

    fn run(mut self, beat: &Beat) {
        let every = self.config.every;
        let grant = (every.as_nanos() as u64).saturating_mul(CPU_SHARE) as i64 / 1_000_000;
        let mut next = Instant::now();
        self.round(Round::First);
        let mut before = thread_cpu();
        loop {
            next += every;
            let now = Instant::now();
            if next < now {
                // The thread could not run for a while: missed rounds are not made up for.
                next = now;
            }
            if !beat.wait_until(next) {
                break;
            }
            // Unused time does not accumulate; an overrun is paid back.
            self.left = (self.left + grant).min(grant);
            // While a sweep is paid back, the host is still sampled if that is cheap.
            if self.left > 0 || self.host_cost * 4 < grant {
                self.round(Round::Usual);
            }
            let after = thread_cpu();
            self.left -= (after - before) as i64;
            before = after;
        }
        self.round(Round::Last);
        tracing::debug!(cpu_ns = thread_cpu(), "CPU time of the samples");
    }

    fn round(&mut self, round: Round) {
        let began = thread_cpu();
        let always = round != Round::Usual;
        if let Some(file_systems) = &mut self.file_systems {
            file_systems.query(boot_ns());
        }
        if let Some(host) = &mut self.host {
            let row = host.row(boot_ns());
            self.events.send(AgentEvent::SampleHost(Box::new(row)));
        }
        if let Some(disks) = &mut self.disks {
            for row in disks.rows(boot_ns(), always, &mut self.reader.stacked) {
                if self.config.kinds.contains(&Kind::SampleDisk) {
                    self.events.send(AgentEvent::SampleDisk(Box::new(row)));
                }
            }
        }
        self.host_cost = (thread_cpu() - began) as i64;
        if self.config.kinds.contains(&Kind::Sample) && (always || self.left > self.host_cost) {
            self.add_new(round);
            self.sweep(round, began);
        }
        if let Some(file_systems) = &mut self.file_systems {
            let rows = match round {
                Round::Usual => file_systems.rows(boot_ns(), false),
                Round::First | Round::Last => file_systems.settle(LAST_STATFS_TIMEOUT),
            };
            for row in rows {
                self.events.send(AgentEvent::SampleFs(Box::new(row)));
            }
        }
    }

    /// Adds new cgroups.
    fn add_new(&mut self, round: Round) {
        let whole = self.config.hierarchy.is_whole();
        while let Ok(NewCgroup { id, time, path }) = self.notifications.created.try_recv() {
            if whole {
                self.add(id, path, Some(time));
            } else if let Ok(path) = self.config.hierarchy.path_of(id) {
                // Paths in kernel events start at another root.
                self.add(id, path, Some(time));
            }
        }
        let now = boot_ns();
        let missed = self.notifications.missed.swap(false, Ordering::Relaxed);
        if round != Round::Last && (missed || now - self.scanned >= RESCAN_INTERVAL) {
            self.scanned = now;
            match self.config.hierarchy.scan() {
                Ok(found) => found.into_iter().for_each(|(id, path)| self.add(id, path, None)),
                Err(error) => tracing::debug!(%error, "cannot list the cgroups to sample"),
            }
            if let Some(host) = &mut self.host {
                host.refresh();
            }
        }
        if self.sweep == 0 {
            self.tree.tidy();
        }
    }

    fn add(&mut self, id: u64, path: Vec<u8>, created: Option<u64>) {
        if self.config.filter.may_want(&containers::identify(&path)) {
            self.tree.add(id, path, created);
        }
    }

    /// Reads all cgroups, or as many as the budget allows; the next round continues there.
    fn sweep(&mut self, round: Round, began: u64) {
        let deadline = Instant::now() + LAST_ROUND_TIMEOUT;
        if round != Round::Usual || self.sweep == 0 {
            self.sweep = self.tree.len();
        }
        let mut rows = 0;
        while self.sweep > 0 {
            self.sweep -= 1;
            let reading = self.reader.read_row(&mut self.tree, self.sweep, boot_ns(), round != Round::Usual);
            if let Reading::Row(row) = reading {
                self.events.send(AgentEvent::Sample(row));
                rows += 1;
                if round == Round::First && rows % BURST_ROWS == 0 {
                    thread::sleep(Duration::from_millis(50));
                }
            }
            let enough = match round {
                Round::First => false,
                Round::Usual => (thread_cpu() - began) as i64 >= self.left,
                Round::Last => Instant::now() >= deadline,
            };
            if enough {
                break;
            }
        }
    }
}

/// Files of cgroups that may be kept open: half of the process's limit. The limit itself is not raised, because the
/// recorded command would inherit it.
fn max_open() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid pointer to a rlimit.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if done == 0 { (limit.rlim_cur / 2).min(1 << 20) as usize } else { 0 }
}
