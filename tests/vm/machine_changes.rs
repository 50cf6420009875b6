//! Changes of a whole machine while ktape records: clock, CPU hotplug, suspend; and kernel lockdown.

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text};
use ktape_tests::vm::{Guest, Ran, kernel};
use ktape_tests::workload;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The workload's calls, in order.
fn calls(ran: &Ran, file: &str) -> Vec<Value> {
    ktape::replay_json(&ran.file(file), &["evt.type=getppid and proc.name=ktape-workload"])
        .into_iter()
        .filter(|event| text(event, "evt.type") == Some("getppid"))
        .collect()
}

fn assert_sound(ran: &Ran, file: &str) {
    let path = ran.file(file);
    assert_eq!(ktape::info(&path)["lost"], 0, "{file}");
    let check = ktape::run(&["check", path.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{file}: {}", String::from_utf8_lossy(&check.stdout));
}

/// Wall clock, ns.
fn time(event: &Value) -> i64 {
    let time: jiff::Timestamp = text(event, "evt.time").unwrap().parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn clock_changes_cpu_hotplug_and_suspend_are_survived() {
    let _guard = Guard::shared();
    let guest = Guest::new(&kernel(), workload!());
    let ran = guest.program("/usr/sbin/rtcwake").run(
        "record clock.ktape -e getppid,clock
        ktape-workload getppid 100
        sleep 1.2
        date -s @$(($(date +%s) + 86400)) >/dev/null
        sleep 2.2
        ktape-workload getppid 200
        sleep 1.2
        date -s @$(($(date +%s) - 86400)) >/dev/null
        sleep 2.2
        ktape-workload getppid 300
        recorded

        online=/sys/devices/system/cpu/cpu1/online
        echo 0 >$online || exit 1
        record cpus.ktape -e getppid,switch,sample
        ktape-workload getppid 400 --cpu 0
        echo 1 >$online || exit 2
        ktape-workload getppid 500 --cpu 1
        echo 0 >$online || exit 3
        ktape-workload getppid 600 --cpu 0
        echo 1 >$online || exit 4
        ktape-workload getppid 700 --cpu 1
        recorded

        record sleep.ktape
        ktape-workload getppid 800
        cat /sys/power/mem_sleep
        rtcwake -m mem -s 4 || exit 5
        ktape-workload getppid 900
        recorded",
    );
    ran.expect_success();
    eprintln!("{}", ran.output);

    assert_sound(&ran, "clock.ktape");
    let all = calls(&ran, "clock.ktape");
    assert_eq!(all.len(), 600);
    // Recorded times are those of the wall clock, and in its order.
    let base = time(&all[0]);
    let later = all.iter().filter(|event| (time(event) - base - DAY).abs() < 60 * SECOND).count();
    let same_day = all.iter().filter(|event| time(event) - base < 60 * SECOND).count();
    assert_eq!((same_day, later), (400, 200), "{} {}", all[0], all[599]);
    let clocks = ktape::replay_json(&ran.file("clock.ktape"), &["-e", "clock"]);
    let mut steps: Vec<i64> =
        clocks.iter().filter_map(|event| int(event, "clock.step")).filter(|step| *step != 0).collect();
    steps.sort_unstable();
    assert_eq!(steps.len(), 2, "{clocks:#?}");
    assert!((steps[0] + DAY).abs() < 2 * SECOND && (steps[1] - DAY).abs() < 2 * SECOND, "{steps:?}");

    assert_sound(&ran, "cpus.ktape");
    let all = calls(&ran, "cpus.ktape");
    let on = |cpu| all.iter().filter(|event| int(event, "evt.cpu") == Some(cpu)).count();
    assert_eq!((on(0), on(1)), (1000, 1200));

    assert_sound(&ran, "sleep.ktape");
    let all = calls(&ran, "sleep.ktape");
    assert_eq!(all.len(), 1700);
    let gap = time(&all[800]) - time(&all[799]);
    assert!((3 * SECOND..60 * SECOND).contains(&gap), "{gap}");
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn kernel_lockdown_is_reported() {
    let _guard = Guard::shared();
    let guest = Guest::new(&kernel(), workload!());
    let ran = guest.parameter("lockdown=confidentiality").run(
        "mount -t securityfs security /sys/kernel/security
        cat /sys/kernel/security/lockdown
        ktape capture -d 1s -o /out/x.ktape 2>/out/said
        echo status $?
        ktape doctor >/out/doctor 2>&1
        echo status $?
        ls /out",
    );
    ran.expect_success();
    assert!(ran.output.contains("[confidentiality]"), "{}", ran.output);
    assert_eq!(ran.output.matches("status 1\n").count(), 2, "{}", ran.output);
    let said = ran.text("said");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("locked down") && said.contains("lockdown=integrity"), "{said}");
    let doctor = ran.text("doctor");
    assert!(doctor.contains("MISSING the kernel's memory: locked down"), "{doctor}");
    assert!(!ran.file("x.ktape").exists());
}
