//! Ancestors in copies.

use super::*;

/// `app` in container a below a shim, which runs on the host below `dockerd` and `systemd`; `job` on the host below `cron`.
fn recorded_family() -> Captures {
    let mut chunk = TestChunk::new(&header(1));
    let in_a = chunk.cgroup(11, &format!("/docker/{}", id('a')), &[id('a')]);
    let host = chunk.cgroup(1, "/system.slice", &[]);
    let systemd = chunk.process(None, 1, "systemd --system", "");
    let dockerd = chunk.process(Some((1, systemd)), 300, "dockerd --log", PARENT_ON_HOST);
    let shim = chunk.process(Some((300, dockerd)), 310, "shim --id", PARENT_ON_HOST);
    let init = chunk.process(Some((310, shim)), 320, "entry --start", PARENT_ON_HOST);
    let app = chunk.process(Some((320, init)), 330, "app --serve", &id('a'));
    let cron = chunk.process(Some((1, systemd)), 400, "cron --fork", PARENT_ON_HOST);
    let shell = chunk.process(Some((400, cron)), 410, "sh --job", PARENT_ON_HOST);
    let job = chunk.process(Some((410, shell)), 420, "job --run", PARENT_ON_HOST);
    let app = chunk.thread(app, 330, "app", in_a);
    let job = chunk.thread(job, 420, "job", host);
    chunk.call(4_000_000_000, app, &call("getppid", &[], 1));
    chunk.call(4_000_000_001, job, &call("getppid", &[], 1));
    opened(file(&header(1), vec![chunk], &[named('a', "web")]))
}

/// The value of a field in the only event of a capture.
fn values(captures: &Captures, field: &str) -> String {
    let (field, _) = crate::fields::lookup(field).unwrap();
    let search = captures.query(Query::default()).unwrap();
    let mut events = search.events();
    let mut scratch = Vec::new();
    let value = crate::fields::values::value(events.next().unwrap(), &field, &mut scratch).to_string();
    assert!(events.next().is_none());
    value
}

#[test]
fn copies_without_selected_parties_have_all_ancestors() {
    let original = recorded_family();
    let query = Query { to: Some(crate::model::testing::WALL + 4_000_000_000 - 12_400), ..Query::default() };
    let copy = copied(&original, query);
    assert_eq!(values(&copy, "proc.aname"), "entry shim dockerd systemd");
    assert_eq!(values(&copy, "proc.acmdline[3]"), "dockerd --log");
    assert!(!everything(&copy).contains("cron"), "of other events");
}

#[test]
fn ancestors_on_the_host_show_names_and_ids_in_events_of_containers() {
    let original = recorded_family();
    for query in [container(&original, "aaaa"), expression("proc.name = app")] {
        let copy = copied(&original, query);
        assert_eq!(values(&copy, "proc.aname"), "entry shim dockerd systemd");
        assert_eq!(values(&copy, "proc.apid"), "320 310 300 1");
        assert_eq!(values(&copy, "proc.acmdline[1]"), "entry --start", "in the same container");
        assert_eq!(values(&copy, "proc.acmdline[2]"), "shim", "on the host");
        let all = everything(&copy);
        for secret in ["--id", "--log", "--system", "/usr/bin/shim", "cron", "job"] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
    }
}

#[test]
fn ancestors_of_a_process_of_the_host_are_shown_if_the_expression_compares_them() {
    let original = recorded_family();
    let names = |text: &str| values(&copied(&original, expression(text)), "proc.aname");
    // As is its parent.
    assert_eq!(names("proc.name = job"), "");
    assert_eq!(names("proc.name = job and proc.aname != x"), "");
    for text in ["proc.aname = cron", "proc.apid = 400", "proc.pname = p410", "toupper(proc.aname) = CRON"] {
        let copy = copied(&original, expression(text));
        assert_eq!(values(&copy, "proc.aname"), "sh cron systemd", "{text}");
        assert_eq!(values(&copy, "proc.acmdline[1]"), "sh", "{text}");
        let again = copied(&copy, expression(text));
        assert_eq!(values(&again, "proc.aname"), "sh cron systemd", "a copy of the copy: {text}");
    }
    for text in
        ["proc.acmdline = 'cron --fork'", "proc.pcmdline = 'sh --job'", "proc.aexepath = /usr/bin/cron"]
    {
        let copy = copied(&original, expression(text));
        assert_eq!(values(&copy, "proc.acmdline[1]"), "sh --job", "{text}");
        assert_eq!(values(&copy, "proc.aexepath[2]"), "/usr/bin/cron", "{text}");
        assert_eq!(values(&copy, "proc.cwd"), "/srv", "{text}");
    }
    let all = everything(&copied(&original, expression("proc.name = job")));
    assert!(!all.contains("cron") && !all.contains("--job"), "{all}");
}

#[test]
fn ancestors_in_containers_that_are_not_selected_are_hidden() {
    let mut chunk = TestChunk::new(&header(1));
    let in_a = chunk.cgroup(11, &format!("/docker/{}", id('a')), &[id('a')]);
    let secret = chunk.process(None, SECRETS[1], "secret-b", "");
    let outer = chunk.process(Some((SECRETS[1], secret)), 500, "outer", &id('b'));
    let app = chunk.process(Some((500, outer)), 510, "app", &id('a'));
    let app = chunk.thread(app, 510, "app", in_a);
    chunk.call(4_000_000_000, app, &call("getppid", &[], 1));
    let original = opened(file(&header(1), vec![chunk], &[named('a', "web")]));
    for query in [container(&original, "aaaa"), expression("proc.name = app")] {
        let copy = copied(&original, query);
        assert_eq!(values(&copy, "proc.aname"), "outer");
        assert_contains_nothing_of_b("ancestors", &copy);
    }
}
