use std::path::Path;

use super::*;

const HYBRID: &[u8] = b"\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:36 /docker/x /mnt/part rw,relatime - cgroup cgroup rw,pids
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:1 master:2 - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/my\\040cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
const CONTROLLERS: &[u8] = b"#subsys_name\thierarchy\tnum_cgroups\tenabled
cpuset\t0\t1\t1
cpu\t1\t1\t1
cpuacct\t1\t1\t1
memory\t0\t10\t1
pids\t8\t1\t1
";
const OWN: &[u8] = b"9:name=systemd:/\n8:pids:/a:b\n1:cpu,cpuacct:/\n0::/\n";

fn machine(mountinfo: &[u8]) -> Machine {
    Machine {
        mounts: parse_mounts(mountinfo),
        is_on_top: |_| true,
        numbers: parse_numbers(CONTROLLERS, OWN),
        initial_namespace: true,
    }
}

#[test]
fn a_hybrid_machine_has_v1_and_v2_hierarchies() {
    let machine = machine(HYBRID);
    assert_eq!(machine.names(), ["v2", "cpu", "cpuacct", "pids", "name=systemd"]);
    let v2 = machine.hierarchy("v2").unwrap();
    assert_eq!((v2.number, v2.mount.as_path()), (0, Path::new("/sys/fs/my cgroup")));
    assert_eq!((v2.subsys.as_deref(), v2.hybrid, v2.is_whole()), (None, true, true));
    let pids = machine.hierarchy("pids").unwrap();
    assert_eq!((pids.number, pids.mount.as_path()), (8, Path::new("/sys/fs/cgroup/pids")));
    assert_eq!(pids.subsys.as_deref(), Some("pids"));
    let systemd = machine.hierarchy("name=systemd").unwrap();
    assert_eq!((systemd.number, systemd.subsys), (9, None));
    assert_eq!(machine.hierarchy("memory"), None);
}

#[test]
fn a_mount_of_a_part_of_a_hierarchy_is_recognized() {
    let line = HYBRID.split(|&b| b == b'\n').nth(2).unwrap();
    let pids = machine(line).hierarchy("pids").unwrap();
    assert_eq!(pids.root, b"/docker/x");
    assert!(!pids.is_whole());
    assert!(!pids.hybrid);
}

/// In a container, a runtime mounts its own part over the host's hierarchy, which is mounted elsewhere, too.
#[test]
fn hidden_mounts_are_not_used() {
    const HIDDEN: &[u8] = b"\
38 36 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
53 91 0:38 / /host/sys/fs/cgroup rw - cgroup2 cgroup2 rw
76 38 0:38 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw
";
    let on_top = |is_on_top| Machine { is_on_top, ..machine(HIDDEN) }.hierarchy("v2");
    let at = |hierarchy: Option<Hierarchy>| hierarchy.map(|h| (h.mount, h.root));
    let host = ("/host/sys/fs/cgroup".into(), b"/".to_vec());
    assert_eq!(at(on_top(|mount| mount.id != 38)), Some(host));
    let part = ("/sys/fs/cgroup".into(), b"/docker/x".to_vec());
    assert_eq!(at(on_top(|mount| mount.id == 76)), Some(part));
    assert_eq!(at(on_top(|_| false)), None);
}

#[test]
fn numbers_come_from_both_files() {
    let numbers = parse_numbers(CONTROLLERS, OWN);
    let expected = [("cpu", 1), ("cpuacct", 1), ("pids", 8), ("name=systemd", 9)];
    assert_eq!(numbers, expected.map(|(name, number)| (name.to_owned(), number)));
}

#[test]
fn malformed_lines_are_ignored() {
    for line in [&b""[..], b"-", b"1 2 3 4 5 6 - cgroup", b"32 31 0:29 / /x rw - cgroup2", b"a b c d e f g h"]
    {
        assert!(parse_mounts(line).is_empty());
    }
}

/// A cgroup of this machine; removed when dropped.
struct TestCgroup(PathBuf);

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn live(name: Option<&str>) {
    let hierarchy = match name.map_or_else(Hierarchy::detect, Hierarchy::named) {
        Ok(hierarchy) => hierarchy,
        Err(e) => {
            eprintln!("NOT CHECKED: {name:?}: {e}");
            return;
        }
    };
    let own = format!("ktape-scan-{}-{}", hierarchy.name.replace('=', "-"), std::process::id());
    let directory = hierarchy.mount.join(&own);
    if let Err(e) = fs::create_dir(&directory) {
        eprintln!("NOT CHECKED: cannot create {}: {e}", directory.display());
        return;
    }
    let made = TestCgroup(directory.clone());
    let inner = TestCgroup(directory.join("in ner (deleted)"));
    fs::create_dir(&inner.0).unwrap();

    let found = hierarchy.scan().unwrap();
    let mut expected = hierarchy.root.clone();
    if expected != b"/" {
        expected.push(b'/');
    }
    expected.extend_from_slice(own.as_bytes());
    let id = fs::metadata(&directory).unwrap().ino();
    let inner_id = fs::metadata(&inner.0).unwrap().ino();
    let inner_path = [&expected[..], b"/in ner (deleted)"].concat();
    assert!(found.contains(&(id, expected.clone())));
    assert!(found.contains(&(inner_id, inner_path.clone())));
    assert_eq!(found[0], (fs::metadata(&hierarchy.mount).unwrap().ino(), hierarchy.root.clone()));
    for (id, path) in &found {
        let inside = path.strip_prefix(&hierarchy.root[..]).unwrap();
        let inside = inside.strip_prefix(b"/").unwrap_or(inside);
        // Other tests create and remove cgroups at the same time.
        if let Ok(metadata) = fs::symlink_metadata(hierarchy.mount.join(OsStr::from_bytes(inside))) {
            assert_eq!(metadata.ino(), *id, "{}", path.escape_ascii());
        }
    }

    match hierarchy.path_of(id) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => eprintln!("NOT CHECKED: path_of: {e}"),
        path => {
            assert_eq!(path.unwrap(), expected);
            assert_eq!(hierarchy.path_of(inner_id).unwrap(), inner_path);
            assert_eq!(hierarchy.path_of(found[0].0).unwrap(), hierarchy.root);
        }
    }
    drop(inner);
    drop(made);
    assert!(hierarchy.path_of(id).is_err());
    assert!(!hierarchy.scan().unwrap().iter().any(|(known, _)| *known == id));
}

#[test]
fn the_detected_hierarchy_of_this_machine() {
    live(None);
}

#[test]
fn each_kind_of_hierarchy_of_this_machine() {
    for name in ["v2", "pids", "memory", "name=systemd"] {
        live(Some(name));
    }
}

#[test]
fn the_error_for_an_unknown_hierarchy_lists_those_that_are_mounted() {
    let Err(HierarchyError::NotMounted { name, mounted }) = Hierarchy::named("nonsense") else {
        panic!("found a hierarchy called nonsense");
    };
    assert_eq!(name, "nonsense");
    assert!(!mounted.is_empty());
}
