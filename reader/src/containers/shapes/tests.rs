use super::*;

/// Paths, and the containers in them as `runtime:id[@pod]`, outermost first. `H`, `I` and `J` stand for ids
/// of 64 hex digits, `U` for the uid of a pod and `V` for the same as systemd writes it.
const CASES: &[(&str, &str)] = &[
    // Docker
    ("/docker/H", "docker:H"),
    ("/docker/H/", "docker:H"),
    ("/system.slice/docker-H.scope", "docker:H"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-H.scope", "docker:H"),
    ("/system.slice/docker.service/system.slice:docker:H", "docker:H"),
    ("/my.slice/docker-H.scope", "docker:H"),
    ("/my-parent/deep/H", "unknown:H"),
    ("/docker/buildkit/vq3krx0a1b2c3d4e5f6g7h8i9", "buildkit:vq3krx0a1b2c3d4e5f6g7h8i9"),
    ("/system.slice/docker-vq3krx0a1b2c3d4e5f6g7h8i9.scope", "buildkit:vq3krx0a1b2c3d4e5f6g7h8i9"),
    ("/actions_job/H", "docker:H"),
    ("/ecs/0b1d7c2e5f/H", "docker:H"),
    ("/ecs/9f3a/9f3a-2531612879", "ecs:9f3a-2531612879"),
    ("/ecstasks.slice/ecstasks-9f3a.slice/docker-H.scope", "docker:H"),
    // systemd or other groups inside
    ("/system.slice/docker-H.scope/init.scope", "docker:H"),
    ("/docker/H/system.slice/nginx.service", "docker:H"),
    ("/docker/H/user.slice/user-0.slice/session-c1.scope", "docker:H"),
    // Kubernetes
    ("/kubepods/burstable/podU/H", "kubernetes:H@U"),
    ("/kubepods/besteffort/podU/H", "kubernetes:H@U"),
    ("/kubepods/podU/H", "kubernetes:H@U"),
    ("/kubepods/podU/crio-H", "cri-o:H@U"),
    (
        "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/H",
        "kubernetes:H@0123456789abcdef0123456789abcdef",
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podV.slice/cri-containerd-H.scope",
        "containerd:H@U",
    ),
    ("/kubepods.slice/kubepods-podV.slice/cri-containerd-H.scope", "containerd:H@U"),
    ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podV.slice/crio-H.scope", "cri-o:H@U"),
    ("/kubepods.slice/kubepods-podV.slice/crio-H.scope/container", "cri-o:H@U"),
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podV.slice/docker-H.scope", "docker:H@U"),
    ("/system.slice/containerd.service/kubepods-burstable-podV.slice:cri-containerd:H", "containerd:H@U"),
    ("/kubepods-besteffort-podV.slice:cri-containerd:H", "containerd:H@U"),
    ("/kubepods/burstable/podU", ""),
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podV.slice", ""),
    ("/kubepods.slice/kubepods-podV.slice/crio-conmon-H.scope", ""),
    // containerd and nerdctl
    ("/system.slice/nerdctl-H.scope", "containerd:H"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-H.scope", "containerd:H"),
    ("/default/H", "containerd:H"),
    ("/default/redis", "containerd:redis"),
    ("/default/my_app-1.0", "containerd:my_app-1.0"),
    ("/k8s.io/H", "containerd:H"),
    ("/k8s.io/probe", "containerd:probe"),
    ("/moby/H", "docker:H"),
    ("/mynamespace/H", "unknown:H"),
    ("/mynamespace/redis", ""),
    ("/system.slice/default/redis", ""),
    ("/default/x.service", ""),
    ("/default/-x", ""),
    // Stands for containers that are not shown.
    ("/lxc.payload.?", ""),
    ("/default", ""),
    // Podman
    ("/machine.slice/libpod-H.scope", "podman:H"),
    ("/machine.slice/libpod-H.scope/container", "podman:H"),
    ("/machine.slice/machine-libpod_pod_I.slice/libpod-H.scope/container", "podman:H"),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-H.scope/container", "podman:H"),
    ("/libpod_parent/libpod-H", "podman:H"),
    ("/libpod_parent/libpod_pod_I/libpod-H", "podman:H"),
    ("/system.slice/web.service/libpod-payload-H", "podman:H"),
    ("/machine.slice/libpod-H.scope/libpod-payload-H", "podman:H"),
    ("/machine.slice/libpod-conmon-H.scope", ""),
    ("/libpod_parent/libpod-conmon-H", ""),
    ("/machine.slice/machine-libpod_pod_I.slice", ""),
    // LXC
    ("/lxc/web", "lxc:web"),
    ("/lxc/101/ns/system.slice/ssh.service", "lxc:101"),
    ("/lxc.payload/web", "lxc:web"),
    ("/lxc.payload.web", "lxc:web"),
    ("/lxc.payload.web.example/init.scope", "lxc:web.example"),
    ("/user.slice/user-1000.slice/session-3.scope/lxc.payload.web/init.scope", "lxc:web"),
    ("/lxc.monitor.web", ""),
    ("/lxc.monitor/web", ""),
    ("/lxc.pivot", ""),
    ("/lxc", ""),
    ("/lxc/lxc/init.scope", "lxc:lxc"),
    ("/libvirt/lxc/web", "libvirt-lxc:web"),
    ("/machine/web.libvirt-lxc", "libvirt-lxc:web"),
    ("/machine.slice/machine-lxc\\x2d4242\\x2dmy\\x2dweb.scope", "libvirt-lxc:my-web"),
    ("/machine.slice/machine-lxc\\x2d4242\\x2dweb.scope/libvirt", "libvirt-lxc:web"),
    ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", ""),
    // nspawn
    ("/machine.slice/machine-web.scope/payload", "nspawn:web"),
    ("/machine.slice/machine-my\\x2dweb.scope/payload/init.scope", "nspawn:my-web"),
    ("/machine.slice/systemd-nspawn@web.service/payload", "nspawn:web"),
    ("/machine.slice/systemd-nspawn@my\\x2dweb.service/payload/system.slice/a.service", "nspawn:my-web"),
    ("/machine.slice/machine-old.scope/system.slice/a.service", "nspawn:old"),
    ("/payload", "nspawn:payload"),
    ("/payload/init.scope", "nspawn:payload"),
    ("/machine.slice/machine-web.scope/supervisor", ""),
    ("/machine.slice/systemd-nspawn@web.service/supervisor", ""),
    ("/system.slice/x.service/payload", ""),
    // BPM and Garden
    ("/system.slice/bpm-nats.scope", "bpm:nats"),
    ("/system.slice/runc-bpm-nats\\x2dtls.scope", "bpm:nats-tls"),
    ("/garden/0a1b2c3d-4e5f-6071-8293-a4b5", "garden:0a1b2c3d-4e5f-6071-8293-a4b5"),
    (
        "/system.slice/garden.service/garden/0a1b2c3d-4e5f-6071-8293-a4b5",
        "garden:0a1b2c3d-4e5f-6071-8293-a4b5",
    ),
    // Containers in containers
    ("/docker/H/kubelet/kubepods/burstable/podU/I", "docker:H>kubernetes:I@U"),
    (
        "/system.slice/docker-H.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podV.slice/cri-containerd-I.scope",
        "docker:H>containerd:I@U",
    ),
    ("/docker/H/docker/I", "docker:H>docker:I"),
    ("/docker/H/system.slice/docker-I.scope/init.scope", "docker:H>docker:I"),
    ("/lxc.payload.web/system.slice/docker-H.scope", "lxc:web>docker:H"),
    (
        "/machine.slice/machine-web.scope/payload/machine.slice/libpod-H.scope/container",
        "nspawn:web>podman:H",
    ),
    ("/kubepods/podU/H/docker/I/docker/J", "kubernetes:H@U>docker:I>docker:J"),
    ("/docker/H/default/redis", "docker:H>containerd:redis"),
    ("/docker/H/payload", "docker:H>nspawn:payload"),
    // The host
    ("/", ""),
    ("", ""),
    ("/init.scope", ""),
    ("/system.slice/docker.service", ""),
    ("/system.slice/docker.service/runtime", ""),
    ("/system.slice/containerd.service", ""),
    ("/system.slice/systemd-udevd.service/udev", ""),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.x\\x2dterm.scope", ""),
    ("/user.slice/user-0.slice/session-1.scope", ""),
    ("/system.slice/docker-cleanup.scope", ""),
    ("/system.slice/crio-wipe.service", ""),
    ("/docker", ""),
    ("/docker/short", ""),
    ("/process_api/44682891e82a939f4e575aa1959aa7fb", ""),
    // 64 characters, but not hex digits; upper case
    ("/docker/nothexnothexnothexnothexnothexnothexnothexnothexnothexnothexnoth", ""),
    ("/docker/AHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHexHex", ""),
    ("/../../docker/H", "docker:H"),
];

const UID: &str = "12345678-9abc-def0-1234-56789abcdef0";

fn expand(text: &str, skip: bool) -> String {
    if skip {
        return text.to_owned();
    }
    let id = |digit: char| std::iter::repeat_n(digit, 64).collect::<String>();
    let mut out = String::new();
    let mut rest = text;
    // A capital letter stands for an id only where no letter is beside it.
    while let Some(c) = rest.chars().next() {
        let before = out.chars().next_back();
        rest = &rest[c.len_utf8()..];
        let after = rest.chars().next();
        let alone = after.is_none_or(|a| !a.is_ascii_lowercase())
            && (before.is_none_or(|b| !b.is_ascii_alphanumeric()) || out.ends_with("pod"));
        match c {
            'H' if alone => out.push_str(&id('a')),
            'I' if alone => out.push_str(&id('1')),
            'J' if alone => out.push_str(&id('7')),
            'U' if alone => out.push_str(UID),
            'V' if alone => out.push_str(&UID.replace('-', "_")),
            _ => out.push(c),
        }
    }
    out
}

fn describe(chain: &Chain) -> String {
    let one = |c: &Container| {
        let pod = c.pod_uid.as_ref().map(|uid| format!("@{uid}")).unwrap_or_default();
        format!("{}:{}{pod}", c.runtime, c.id)
    };
    chain.0.iter().map(one).collect::<Vec<_>>().join(">")
}

#[test]
fn every_shape() {
    assert!(CASES.len() >= 60);
    for (path, expected) in CASES {
        let path = expand(path, false);
        let expected = expand(expected, expected.is_empty());
        assert_eq!(describe(&identify(&path)), expected, "{path}");
    }
}

#[test]
fn an_id_has_exactly_64_digits() {
    for (digits, is_container) in [(63, false), (64, true), (65, false)] {
        let id = "a".repeat(digits);
        for path in [format!("/docker/{id}"), format!("/x/docker-{id}.scope"), format!("/a:crio:{id}")] {
            assert_eq!(!identify(&path).is_host(), is_container, "{path}");
        }
    }
}

#[test]
fn v1_lines_give_the_same() {
    // What follows the second colon of /proc/PID/cgroup is the same path, whatever the version.
    let id = "a".repeat(64);
    for line in [format!("4:memory:/docker/{id}"), format!("0::/docker/{id}")] {
        let path = line.splitn(3, ':').nth(2).unwrap();
        assert_eq!(identify(path).innermost().unwrap().id, id);
    }
}

#[test]
fn ids_are_whole_short_or_prefixes() {
    let id = "0123456789abcdef".repeat(4);
    let chain = identify(format!("/docker/{id}/lxc/web"));
    assert_eq!(chain.joined(), format!("{id}>web"));
    let [outer, inner] = &chain.0[..] else { panic!("{chain:?}") };
    assert_eq!(outer.short_id(), "0123456789ab");
    assert_eq!(inner.short_id(), "web");
    for (prefix, matches) in [("0", true), (&id[..12], true), (&id, true), ("1", false), ("", false)] {
        assert_eq!(outer.matches_prefix(prefix), matches, "{prefix}");
    }
    assert!(!outer.matches_prefix(&format!("{id}0")));
    assert!(inner.matches_prefix("web") && inner.matches_prefix("w") && !inner.matches_prefix("webs"));
    assert!(chain.matches_prefix("012") && chain.matches_prefix("we") && !chain.matches_prefix("x"));
    assert!(identify("/").is_host());
    assert!(!chain.is_host());
}

#[test]
fn a_name_longer_than_an_id_matches_as_a_whole() {
    let name = "n".repeat(70);
    let chain = identify(format!("/lxc/{name}"));
    assert!(chain.matches_prefix(&name));
    assert!(chain.matches_prefix(&name[..64]));
    assert!(!chain.matches_prefix(&name[..65]));
}

#[test]
fn hostile_names_are_no_ids() {
    for path in [&b"/lxc/a>b"[..], b"/lxc/a\x1b[2J", b"/lxc/\xff\xfe", b"/lxc.payload.", b"/x/bpm-.scope"] {
        assert!(identify(path).is_host(), "{}", path.escape_ascii());
    }
    assert_eq!(identify("/machine.slice/machine-a\\x0ab.scope/payload").0, []);
    assert_eq!(describe(&identify("/machine/a\\x2.libvirt-lxc")), "libvirt-lxc:a\\x2");
}

#[test]
fn runtimes_are_known_by_name() {
    for runtime in Runtime::ALL {
        assert_eq!(Runtime::from_name(runtime.name()), Some(runtime));
    }
    assert_eq!(Runtime::from_name("rkt"), None);
}
