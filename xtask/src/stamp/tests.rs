use super::*;

const MANIFEST: &str = "[workspace]\nx = 1\n\n[profile.release]\n# why\nlto = true\n[profile.dev]\nopt-level = 1\n\n\
                        [profile.ebpf]\ninherits = \"release\"\n";
const LOCK: &str = "version = 4\n\n[[package]]\nname = \"aya\"\nversion = \"0.14.0\"\n\n[[package]]\n\
                    name = \"aya-ebpf\"\nversion = \"0.2.1\"\nchecksum = \"ab\"\n";

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", LOCK),
        ("agent-ebpf/Cargo.toml", "[package]\n"),
        ("events/Cargo.toml", "[package]\n"),
        ("events/src/lib.rs", "// kinds\n"),
        ("agent-ebpf/src/main.rs", "fn main() {}\n"),
        ("agent-ebpf/src/probes/fork.rs", "// fork\n"),
        ("agent-ebpf/src/probes/tests.rs", "// tests\n"),
    ] {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

#[test]
fn committed_objects_match_the_committed_sources() {
    let stamp = verify(&crate::run::workspace_root()).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(stamp.target, "bpfel-unknown-none");
}

#[test]
fn stamp_round_trips() {
    let stamp = Stamp {
        sources: "aa".into(),
        object: "bb".into(),
        legacy: "cc".into(),
        rustc: "rustc 1.96.0 c0ffee LLVM 22.1.8".into(),
        linker: "bpf-linker 0.13.0".into(),
        target: "bpfel-unknown-none".into(),
    };
    assert_eq!(Stamp::from_text(&stamp.to_text()).unwrap(), stamp);
    let cut = stamp.to_text().replace("linker", "other");
    assert_eq!(Stamp::from_text(&cut).unwrap_err().to_string(), format!("{STAMP} has no `linker`"));
}

#[test]
fn hash_is_sha256() {
    assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn only_inputs_of_the_build_change_the_hash() {
    let dir = tree();
    let before = sources_hash(dir.path()).unwrap();
    let change = |name: &str, text: &str| {
        let file = dir.path().join(name);
        let old = fs::read(&file).unwrap_or_default();
        fs::write(&file, text).unwrap();
        let changed = sources_hash(dir.path()).unwrap() != before;
        if old.is_empty() {
            fs::remove_file(&file).unwrap();
        } else {
            fs::write(&file, old).unwrap();
        }
        changed
    };
    assert!(change("agent-ebpf/src/main.rs", "fn main() { }\n"));
    assert!(change("agent-ebpf/src/probes/fork.rs", "// vfork\n"));
    assert!(change("events/src/lib.rs", "// more kinds\n"));
    assert!(change("agent-ebpf/src/probes/new.rs", "// new\n"));
    assert!(change("agent-ebpf/Cargo.toml", "[package]\nedition = \"2021\"\n"));
    assert!(change("Cargo.toml", &MANIFEST.replace("lto = true", "lto = false")));
    assert!(change("Cargo.lock", &LOCK.replace("\"ab\"", "\"cd\"")));
    assert!(!change("agent-ebpf/src/probes/tests.rs", "// more tests\n"));
    assert!(!change("Cargo.toml", &MANIFEST.replace("# why", "# because")));
    assert!(!change("Cargo.toml", &MANIFEST.replace("opt-level = 1", "opt-level = 2")));
    assert!(!change("Cargo.lock", &LOCK.replace("0.14.0", "0.14.1")));
    assert_eq!(sources_hash(dir.path()).unwrap(), before);
}

#[test]
fn the_error_for_a_stale_or_wrong_object_names_the_command() {
    let dir = tree();
    fs::create_dir_all(dir.path().join("agent/ebpf")).unwrap();
    let write = |sources: String, object: &[u8]| {
        let stamp = Stamp {
            sources,
            object: hash(b"object"),
            legacy: hash(b"legacy"),
            rustc: String::new(),
            linker: String::new(),
            target: String::new(),
        };
        fs::write(dir.path().join(STAMP), stamp.to_text()).unwrap();
        fs::write(dir.path().join(OBJECT), object).unwrap();
        fs::write(dir.path().join(LEGACY_OBJECT), b"legacy").unwrap();
        verify(dir.path())
    };
    let current = sources_hash(dir.path()).unwrap();
    assert!(write(current.clone(), b"object").is_ok());
    let stale = write("00".into(), b"object").unwrap_err().to_string();
    assert!(stale.contains("is stale") && stale.contains("`cargo xtask ebpf`"), "{stale}");
    let foreign = write(current, b"other").unwrap_err().to_string();
    assert!(foreign.contains("is not the object") && foreign.contains("`cargo xtask ebpf`"), "{foreign}");
}
