//! Which container block I/O is charged to where the I/O controller is on v1, a hierarchy of its own: also if an I/O limit
//! held a request, so that a worker of the kernel submits it. Against the bytes that the controller counts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use ktape_tests::cgroup::{self, Cgroup};
use ktape_tests::device::{Loop, run};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::{wait, workload};

const MIB: u64 = 1 << 20;
const MS: i64 = 1_000_000;

/// A container: a cgroup that identifies it, and one that its I/O is charged to.
struct Tenant {
    id: String,
    identity: Cgroup,
    blkio: Cgroup,
}

impl Tenant {
    /// `identity` and `blkio` are paths with `ID` in place of the id.
    fn new(id: &str, identity: &str, blkio: &str) -> Self {
        let id = id.repeat(32);
        let root = cgroup::v1_root("blkio").expect("this test needs a v1 blkio hierarchy");
        Self {
            identity: Cgroup::make(&identity.replace("ID", &id)),
            blkio: Cgroup::make_in(root, &blkio.replace("ID", &id)),
            id,
        }
    }

    fn limit(&self, device: &Loop, bytes_per_second: u64) {
        let file = self.blkio.dir().join("blkio.throttle.write_bps_device");
        fs::write(file, format!("{} {bytes_per_second}", device.number())).unwrap();
    }

    /// The command inside.
    fn command(&self, words: &[&str]) -> Command {
        let enter = format!(
            "echo $$ >'{}/cgroup.procs' && echo $$ >'{}/cgroup.procs' && exec \"$@\"",
            self.blkio.dir().display(),
            self.identity.dir().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &enter, "sh"]).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Writes directly to the device, in pieces of 128 KiB.
    fn write(&self, device: &str, bytes: u64) {
        let program = workload!().to_string_lossy().into_owned();
        let bytes = bytes.to_string();
        let status =
            self.command(&[&program, "block", "direct", device, "write", &bytes, "131072", "0"]).status();
        assert!(status.unwrap().success());
    }

    /// Bytes that the controller has counted as written to the device.
    fn charged(&self, device: &Loop) -> i64 {
        let stat = fs::read_to_string(self.blkio.dir().join("blkio.throttle.io_service_bytes")).unwrap();
        let key = format!("{} Write ", device.number());
        let line = stat.lines().find_map(|line| line.strip_prefix(&key));
        line.expect("the limit makes the controller count").parse().unwrap()
    }
}

/// Writes to the device, in a capture or the part of it that `args` select.
fn writes(file: &Path, device: &Loop, args: &[&str]) -> Vec<Value> {
    let expression = format!("block.dev = {} and block.op = write", device.name());
    ktape::replay_json(file, &[&["-e", "block", &expression], args].concat())
}

fn bytes(events: &[Value]) -> i64 {
    events.iter().filter_map(|event| int(event, "block.bytes")).sum()
}

/// Of one container, whose cgroup may be in use already or not: the requests and what the controller counts are the same.
fn assert_charged(what: &str, events: &[Value], tenant: &Tenant, device: &Loop) {
    assert_eq!(bytes(events), tenant.charged(device), "{what}");
    for event in events {
        assert_eq!(text(event, "block.owner"), Some(tenant.identity.path()), "{what}: {event}");
        assert_eq!(text(event, "block.owner_kind"), Some("bio"), "{what}: {event}");
    }
    let held: Vec<&Value> = events.iter().filter(|event| truth(event, "block.throttled")).collect();
    assert!(!held.is_empty(), "{what}: no request was held by the limit: {events:#?}");
    for event in held {
        let thread = text(event, "thread.name").unwrap();
        assert!(thread.starts_with("kworker/"), "{what}: submitted by {thread}: {event}");
        assert!(truth(event, "evt.start_unknown"), "{what}: {event}");
        let known = ["block.dur", "block.queued", "evt.latency"].map(|field| int(event, field));
        assert_eq!(known, [None; 3], "{what}: nothing says how long it was held: {event}");
        assert!(int(event, "block.service") > Some(0), "{what}: {event}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn throttled_requests_belong_to_the_container_that_is_charged() {
    let _guard = Guard::exclusive();
    let device = Loop::make(16 * MIB, true);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    // One exists before the captures; of the other one the paths differ, and it begins and ends during them.
    let early = Tenant::new("a1", "/docker/ID", "/docker/ID");
    let (early_id, late_id) = (early.id.clone(), "b2".repeat(32));
    early.limit(&device, MIB);
    let all = Capture::start(&file("all"), &["-e", "block,cgroup_mkdir"]);
    let of_early = Capture::start(&file("early"), &["-e", "block", "--container", &early_id[..12]]);
    let of_late = Capture::start(&file("late"), &["-e", "block", "--container", &late_id[..12]]);
    early.write(device.path(), MIB);
    let late = Tenant::new("b2", "/system.slice/docker-ID.scope", "/docker/ID");
    late.limit(&device, MIB);
    late.write(device.path(), MIB / 2);
    for capture in [of_early, of_late, all] {
        capture.stop();
    }

    for (tenant, name) in [(&early, "early"), (&late, "late")] {
        let id = &tenant.id[..12];
        assert_charged(
            "replay --container",
            &writes(&file("all"), &device, &["--container", id]),
            tenant,
            &device,
        );
        assert_charged("capture --container", &writes(&file(name), &device, &[]), tenant, &device);
    }
    assert_eq!(bytes(&writes(&file("all"), &device, &[])), (MIB + MIB / 2).cast_signed());
    // In words, what the figures cannot say.
    let lines = ktape::stdout(&["replay", file("early").to_str().unwrap(), "block.throttled = true"]);
    assert!(lines.contains("held by an I/O limit before, for an unknown time"), "{lines}");

    // Nothing of the other container, neither in a capture nor in a copy.
    let copy = file("copy");
    let (from, to) = (file("all"), copy.to_str().unwrap());
    ktape::stdout(&["replay", from.to_str().unwrap(), "-w", to, "--container", &early_id[..12]]);
    assert_charged("replay -w --container", &writes(&copy, &device, &[]), &early, &device);
    for (name, secret) in [("copy", &late_id), ("early", &late_id), ("late", &early_id)] {
        for string in ktape::all_strings(&file(name)) {
            let string = String::from_utf8_lossy(&string).into_owned();
            assert!(!string.contains(&secret[..12]), "{name}: the file has {string:?}");
        }
    }
}

/// A request to a partition is seen before the limit of its disk holds it.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn the_wait_for_a_limit_is_part_of_a_partitions_request() {
    let _guard = Guard::exclusive();
    let device = Loop::make(16 * MIB, true);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let tenant = Tenant::new("c3", "/docker/ID", "/docker/ID");
    tenant.limit(&device, MIB);
    let capture = Capture::start(&file, &["-e", "block"]);
    run(&["addpart", device.path(), "1", "2048", "16384"]);
    let partition = format!("{}p1", device.path());
    wait::until("the partition's device", wait::TIMEOUT, || Path::new(&partition).exists().then_some(()));
    tenant.write(&partition, MIB);
    capture.stop();
    let events = writes(&file, &device, &["--container", &tenant.id[..12]]);
    assert_eq!(bytes(&events), tenant.charged(&device));
    let held: Vec<&Value> = events.iter().filter(|event| truth(event, "block.throttled")).collect();
    assert!(!held.is_empty(), "{events:#?}");
    for event in held {
        assert_eq!(text(event, "proc.name"), Some("ktape-workload"), "{event}");
        assert!(!truth(event, "evt.start_unknown"), "{event}");
        let [dur, queued, service] =
            ["block.dur", "block.queued", "block.service"].map(|field| int(event, field).unwrap());
        assert!(queued > 10 * MS && dur == queued + service, "{event}");
    }
    let lines = ktape::stdout(&["replay", file.to_str().unwrap(), "block.throttled = true"]);
    assert!(lines.contains(" <held by an I/O limit, queued includes it>"), "{lines}");
}

/// v1 charges what the kernel writes back to the root, whoever dirtied the pages. The root is no container.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn what_is_charged_to_the_root_has_no_owner_or_its_submitter() {
    let _guard = Guard::exclusive();
    let device = Loop::make(64 * MIB, true);
    let mount = device.mount();
    let data = mount.path().join("data");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let id = "d4".repeat(32);
    let identity = Cgroup::make(&format!("/docker/{id}"));
    run(&["sync", "-f", &mount.path().to_string_lossy()]);
    let capture = Capture::start(&file, &["-e", "block"]);
    let load = format!(
        "echo $$ >'{}/cgroup.procs' && dd if=/dev/zero of='{data}' bs=64k count=32 oflag=direct status=none \
         && dd if=/dev/zero of='{data}' bs=64k seek=32 count=32 conv=notrunc status=none",
        identity.dir().display(),
        data = data.display()
    );
    run(&["sh", "-c", &load]);
    run(&["sync", "-f", &mount.path().to_string_lossy()]);
    capture.stop();
    let events = writes(&file, &device, &[]);
    let (direct, rest): (Vec<&Value>, Vec<&Value>) =
        events.iter().partition(|event| text(event, "proc.name") == Some("dd"));
    assert!(
        direct.iter().filter_map(|event| int(event, "block.bytes")).sum::<i64>() >= 2 * MIB.cast_signed()
    );
    for event in direct {
        assert_eq!(text(event, "block.owner_kind"), Some("submitter"), "{event}");
        assert_eq!(text(event, "block.owner"), Some(identity.path()), "{event}");
        assert!(!truth(event, "block.throttled"), "{event}");
    }
    let written_back: Vec<&Value> = rest
        .into_iter()
        .filter(|event| text(event, "thread.name").is_some_and(|name| name.starts_with("kworker/")))
        .collect();
    assert!(
        written_back.iter().filter_map(|event| int(event, "block.bytes")).sum::<i64>()
            >= 2 * MIB.cast_signed(),
        "{events:#?}"
    );
    for event in written_back {
        assert_eq!(text(event, "block.owner_kind"), Some("unknown"), "{event}");
        assert_eq!(text(event, "block.owner"), None, "{event}");
    }
}
