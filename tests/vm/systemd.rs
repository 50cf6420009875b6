//! The unit file of docs, under systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text};
use ktape_tests::vm::{Guest, kernel};
use ktape_tests::workload;

/// What a test cannot wait for is shorter.
const QUICK: &str = "[Service]
WatchdogSec=3
RestartSec=1
StandardError=append:/out/ktape.err
";

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn unit_file_runs_in_its_sandbox() {
    let _guard = Guard::exclusive();
    let guest = Guest::new(&kernel(), workload!());
    let unit = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ktape.service")).unwrap();
    let ran = guest
        .systemd()
        .file("etc/systemd/system/ktape.service", &unit)
        .file("etc/systemd/system/ktape.service.d/quick.conf", QUICK.as_bytes())
        .run(
            "mkdir -p /usr/local/bin
            cp /bin/ktape /usr/local/bin/
            main() { systemctl show -P MainPID ktape; }
            is_another() { [ \"$(main)\" != \"$before\" ] && systemctl -q is-active ktape; }
            files() { ls /var/log/ktape/*.ktape | wc -l; }
            are_more() { [ \"$(files)\" -gt \"$before\" ]; }
            # calls N: that are in the files by now.
            calls() { [ \"$(ktape replay /var/log/ktape --count evt.type=getppid)\" = \"$1\" ]; }

            systemctl start ktape || exit 1
            echo \"active $(systemctl is-active ktape)\"
            grep CapEff /proc/$(main)/status
            ktape-workload getppid 1000

            before=$(files)
            systemctl reload ktape || exit 2
            until_true are_more
            ktape-workload getppid 2000

            # It dies; then it hangs.
            until_true calls 3000
            before=$(main)
            kill -KILL $before
            until_true is_another
            ktape-workload getppid 3000
            until_true calls 6000
            before=$(main)
            kill -STOP $before
            until_true is_another
            ktape-workload getppid 4000

            echo \"restarts $(systemctl show -P NRestarts ktape)\"
            systemctl stop ktape || exit 3
            echo \"result $(systemctl show -P Result ktape), $(systemctl is-active ktape)\"
            systemctl show -P ExecMainStatus ktape
            stat -c 'mode %a' /var/log/ktape /var/log/ktape/*.ktape | sort -u
            cp -r /var/log/ktape /out/series",
        );
    eprintln!("{}", ran.output);
    ran.expect_success();
    let said = ran.text("ktape.err");
    eprintln!("{said}");
    let capabilities = "CapEff:\t000000c400880004";
    for line in
        [capabilities, "active active", "restarts 2", "result success, inactive", "mode 600", "mode 700"]
    {
        assert!(ran.output.lines().any(|other| other == line), "no {line:?} in:\n{}\n{said}", ran.output);
    }

    let series = ran.file("series");
    let mut files: Vec<PathBuf> = fs::read_dir(&series).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ktape"));
    assert_eq!(files.len(), 4, "{files:?}");
    let infos: Vec<_> = files.iter().map(|file| ktape::info(file)).collect();
    let uuids: BTreeSet<_> = infos.iter().map(|info| text(info, "uuid").unwrap().to_owned()).collect();
    assert_eq!(uuids.len(), 1, "{infos:#?}");
    assert!(infos.iter().all(|info| int(info, "lost") == Some(0)), "{infos:#?}");

    let question = "evt.type=getppid and proc.name=ktape-workload";
    assert_eq!(ktape::count(&series, question), 10_000);
    // What it reads of others, in spite of the sandbox: a process from before, and what a call's address means.
    let seen = ktape::replay_json(&series, &["evt.type=wait4 and proc.name=sh"]);
    assert!(seen.iter().any(|event| text(event, "proc.exepath") == Some("/bin/busybox")), "{seen:#?}");
}
