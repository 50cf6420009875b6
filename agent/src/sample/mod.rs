//! Samples of resources: a thread that reads the files of cgroups and `/proc` at regular times and hands rows to the
//! drain, which never waits for it. `docs/samples.md` says what each number is and how old it may be.

mod cgroup;
mod disk;
mod fds;
mod file;
mod forest;
mod fs;
mod host;
mod layout;

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
use cgroup::{Look, Reader};
use disk::Disks;
use file::thread_cpu;
use forest::Forest;
use fs::FileSystems;
use host::Host;
use ktape_reader::containers;
use layout::Layout;

/// How much of one CPU this thread may use, in millionths; 0.5 % are promised, and a round ends a little late.
const SHARE: u64 = 4_500;
/// How many new cgroups may wait for the next round; if there are more, all are listed anew.
const NEWS: usize = 1024;
/// How often everything is listed anew, whatever was told, ns.
const RESCAN: u64 = 60_000_000_000;
/// How long the last round may take, of the time that the end of a capture waits for it.
const LAST: Duration = Duration::from_millis(200);
/// How long it waits for file systems to answer.
const LAST_ANSWERS: Duration = Duration::from_millis(30);
/// The first round makes so many rows, then gives the drain time to take them.
const BURST: usize = 512;

/// What to sample.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often.
    pub every: Duration,
    /// Which of the kinds of samples.
    pub kinds: Vec<Kind>,
    /// The hierarchy that tells cgroups apart.
    pub hierarchy: Hierarchy,
    /// Of which containers; the host's rows are there all the same.
    pub filter: ContainerFilter,
    /// Where the host's files are.
    pub host: HostRoot,
}

/// Tells the sampler of new cgroups.
#[derive(Clone, Debug)]
pub struct News {
    made: SyncSender<(u64, Vec<u8>)>,
    missed: Arc<AtomicBool>,
}

impl News {
    /// A cgroup was made: its id, and its path as the kernel tells it.
    pub fn made(&self, id: u64, path: &[u8]) {
        if self.made.try_send((id, path.to_vec())).is_err() {
            self.missed();
        }
    }

    /// Some may have been made that nobody told of.
    pub fn missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }
}

/// The other end of it.
#[derive(Debug)]
struct Told {
    made: Receiver<(u64, Vec<u8>)>,
    missed: Arc<AtomicBool>,
}

/// Starts the thread. If the news are given to nobody, new cgroups are found within a minute.
///
/// # Errors
/// If there can be no more threads, or the cgroup hierarchy is gone.
pub fn start(config: Config, outbox: EventSender) -> io::Result<(Background, News)> {
    let (sender, made) = sync_channel(NEWS);
    let missed = Arc::new(AtomicBool::new(true));
    let news = News { made: sender, missed: missed.clone() };
    let layout = Layout::detect(&config.hierarchy)?;
    let thread = Background::start("ktape-sample", move |beat| {
        crate::background::prefer_this_thread();
        Sampler::new(config, layout, Told { made, missed }, outbox).run(beat);
    })?;
    Ok((thread, news))
}

/// How a round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Everything is told.
    First,
    /// What has changed, as far as the budget goes.
    Usual,
    /// Everything is told again, as far as there is time.
    Last,
}

/// Everything that the thread owns.
struct Sampler {
    config: Config,
    told: Told,
    outbox: EventSender,
    reader: Reader,
    forest: Forest,
    /// How many cgroups of this sweep are still to be looked at: from the last down, so that children come first.
    sweep: usize,
    scanned: u64,
    host: Option<Host>,
    disks: Option<Disks>,
    file_systems: Option<FileSystems>,
    /// CPU time left for this round, ns; negative after a round that took more.
    left: i64,
    /// CPU time of host, disks and file systems in the last round, ns.
    host_cost: i64,
}

impl Sampler {
    fn new(config: Config, layout: Layout, told: Told, outbox: EventSender) -> Self {
        let has = |kind| config.kinds.contains(&kind);
        let host = has(Kind::SampleHost).then(Host::new);
        // What stands on what is needed to count the I/O of cgroups once.
        let disks = (has(Kind::SampleDisk) || has(Kind::Sample)).then(Disks::new);
        let file_systems = has(Kind::SampleFs).then(|| FileSystems::new(&config.host));
        Self {
            config,
            told,
            outbox,
            reader: Reader::new(layout, max_open()),
            forest: Forest::default(),
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
        let grant = (every.as_nanos() as u64).saturating_mul(SHARE) as i64 / 1_000_000;
        let mut next = Instant::now();
        self.round(Round::First);
        let mut before = thread_cpu();
        loop {
            next += every;
            let now = Instant::now();
            if next < now {
                // It could not run for a while: no round is made up for.
                next = now;
            }
            if !beat.wait_until(next) {
                break;
            }
            // What was not used is not kept; what was too much is paid back.
            self.left = (self.left + grant).min(grant);
            // While a sweep is paid back, the host goes on if it is cheap.
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
            file_systems.ask(boot_ns());
        }
        if let Some(host) = &mut self.host {
            let row = host.row(boot_ns());
            self.outbox.send(AgentEvent::SampleHost(Box::new(row)));
        }
        if let Some(disks) = &mut self.disks {
            for row in disks.rows(boot_ns(), always, &mut self.reader.stacked) {
                if self.config.kinds.contains(&Kind::SampleDisk) {
                    self.outbox.send(AgentEvent::SampleDisk(Box::new(row)));
                }
            }
        }
        self.host_cost = (thread_cpu() - began) as i64;
        if self.config.kinds.contains(&Kind::Sample) && (always || self.left > self.host_cost) {
            self.hear(round);
            self.sweep(round, began);
        }
        if let Some(file_systems) = &mut self.file_systems {
            let rows = match round {
                Round::Usual => file_systems.rows(boot_ns(), false),
                Round::First | Round::Last => file_systems.settle(LAST_ANSWERS),
            };
            for row in rows {
                self.outbox.send(AgentEvent::SampleFs(Box::new(row)));
            }
        }
    }

    /// Takes up new cgroups.
    fn hear(&mut self, round: Round) {
        let whole = self.config.hierarchy.is_whole();
        while let Ok((id, path)) = self.told.made.try_recv() {
            if whole {
                self.add(id, path);
            } else if let Ok(path) = self.config.hierarchy.path_of(id) {
                // The kernel's path begins elsewhere.
                self.add(id, path);
            }
        }
        let now = boot_ns();
        let missed = self.told.missed.swap(false, Ordering::Relaxed);
        if round != Round::Last && (missed || now - self.scanned >= RESCAN) {
            self.scanned = now;
            match self.config.hierarchy.scan() {
                Ok(found) => found.into_iter().for_each(|(id, path)| self.add(id, path)),
                Err(error) => tracing::debug!(%error, "cannot list the cgroups to sample"),
            }
            if let Some(host) = &mut self.host {
                host.refresh();
            }
        }
        if self.sweep == 0 {
            self.forest.tidy();
        }
    }

    fn add(&mut self, id: u64, path: Vec<u8>) {
        if self.config.filter.may_want(&containers::identify(&path)) {
            self.forest.add(id, path);
        }
    }

    /// Looks at all cgroups, or at as many as there is time for; the next round goes on there.
    fn sweep(&mut self, round: Round, began: u64) {
        let deadline = Instant::now() + LAST;
        if round != Round::Usual || self.sweep == 0 {
            self.sweep = self.forest.len();
        }
        let mut rows = 0;
        while self.sweep > 0 {
            self.sweep -= 1;
            let look = self.reader.look(&mut self.forest, self.sweep, boot_ns(), round != Round::Usual);
            if let Look::Row(row) = look {
                self.outbox.send(AgentEvent::Sample(row));
                rows += 1;
                if round == Round::First && rows % BURST == 0 {
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

/// How many files of cgroups may be kept open: half of what this process may have. The limit itself is not raised, as
/// the recorded command would inherit that.
fn max_open() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid pointer to a rlimit.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if done == 0 { (limit.rlim_cur / 2).min(1 << 20) as usize } else { 0 }
}
