use agent_ebpf::records::{Exec, Fork, Header};

use super::*;

fn name(text: &str) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    comm[..text.len()].copy_from_slice(text.as_bytes());
    comm
}

fn head(pid: u32, tid: u32) -> Header {
    Header { pid, tid, ..Header::default() }
}

fn fork(processes: &mut Processes, parent: u32, pid: u32, tid: u32) {
    processes.fork(&Fork {
        head: head(parent, parent),
        child_pid: pid,
        child_tid: tid,
        child_ppid: parent,
        child_start: u64::from(tid),
        comm: name("parent"),
        ..Fork::default()
    });
}

fn exec(processes: &mut Processes, pid: u32, old_tid: u32, program: &str) -> Arc<[u8]> {
    // SAFETY: a struct of integers, for which all zeroes is a value.
    let mut exec: Exec = unsafe { std::mem::zeroed() };
    exec.head = head(pid, pid);
    exec.old_tid = old_tid;
    exec.comm = name(program);
    processes.exec(&exec, program.as_bytes(), program.as_bytes())
}

fn process_of(processes: &Processes, tid: u32) -> &Process {
    &processes.processes[processes.threads[&tid].process as usize]
}

#[test]
fn a_child_inherits_names_and_exec_replaces_them() {
    let mut processes = Processes::new(false);
    exec(&mut processes, 10, 10, "shell");
    fork(&mut processes, 10, 20, 20);
    let child = process_of(&processes, 20);
    assert_eq!((child.pid, child.ppid, child.start), (20, 10, 20));
    assert_eq!((&*child.name, &*child.pname, &*child.exe), (&b"parent"[..], &b"shell"[..], &b"shell"[..]));
    assert_eq!(&*exec(&mut processes, 20, 20, "ls"), b"parent");
    assert_eq!(&*process_of(&processes, 20).name, b"ls");
    assert_eq!(&*processes.args_of(20), b"ls");
    // A thread shares the process.
    fork(&mut processes, 20, 20, 21);
    assert_eq!(processes.threads[&21].process, processes.threads[&20].process);
}

#[test]
fn a_child_of_clone_parent_has_its_creators_parent() {
    let mut processes = Processes::new(false);
    exec(&mut processes, 1, 1, "init");
    exec(&mut processes, 10, 10, "runtime");
    // As with CLONE_PARENT.
    processes.fork(&Fork {
        head: head(10, 10),
        child_pid: 20,
        child_tid: 20,
        child_ppid: 1,
        ..Fork::default()
    });
    let child = process_of(&processes, 20);
    assert_eq!((child.ppid, &*child.pname), (1, &b"init"[..]));
}

/// The parent's id and name in the row that a thread's next event gets.
fn parent_of(processes: &mut Processes, tid: u32) -> (u32, Arc<[u8]>) {
    let index = processes.threads[&tid].process;
    processes.refresh_parent_name(index);
    let process = &processes.processes[index as usize];
    (process.ppid, process.pname.clone())
}

#[test]
fn parents_follow_reparenting_and_renames() {
    let mut processes = Processes::new(false);
    exec(&mut processes, 1, 1, "init");
    exec(&mut processes, 10, 10, "shell");
    fork(&mut processes, 10, 20, 20);
    fork(&mut processes, 20, 20, 21);
    exec(&mut processes, 10, 10, "server");
    assert_eq!(parent_of(&mut processes, 21), (10, Arc::from(&b"server"[..])));
    processes.rename(10, 10, &name("worker"));
    assert_eq!(parent_of(&mut processes, 20), (10, Arc::from(&b"worker"[..])));
    let version = process_of(&processes, 20).version;
    processes.set_parent(&head(20, 21), 10);
    assert_eq!(process_of(&processes, 20).version, version);
    assert_eq!(process_of(&processes, 20).parent_cgroup, Some(0));
    processes.set_parent(&head(20, 21), 1);
    assert_eq!(parent_of(&mut processes, 20), (1, Arc::from(&b"init"[..])));
    // The new parent can be in any container, so that --container hides it.
    assert_eq!(process_of(&processes, 20).parent_cgroup, None);
    // One that is not known has no name, but the one that the kernel side gives.
    processes.set_parent(&head(20, 20), 99);
    assert_eq!(parent_of(&mut processes, 21), (99, Arc::from(&b""[..])));
    processes.name_parent(&head(20, 20), &name("unseen"));
    assert_eq!(parent_of(&mut processes, 21), (99, Arc::from(&b"unseen"[..])));
}

#[test]
fn a_process_with_the_id_of_an_ended_parent_is_not_the_parent() {
    let mut processes = Processes::new(false);
    fork(&mut processes, 1, 10, 10);
    exec(&mut processes, 10, 10, "shell");
    fork(&mut processes, 10, 20, 20);
    processes.retire(10);
    processes.fork(&Fork {
        head: head(1, 1),
        child_pid: 10,
        child_tid: 10,
        child_start: 500,
        ..Fork::default()
    });
    exec(&mut processes, 10, 10, "stranger");
    assert_eq!(parent_of(&mut processes, 20), (10, Arc::from(&b"shell"[..])));
}

#[test]
fn a_thread_that_executes_outlives_the_leader_it_replaces() {
    let mut processes = Processes::new(false);
    exec(&mut processes, 10, 10, "threads");
    fork(&mut processes, 10, 10, 11);
    // The leader exits, then thread 11 executes and becomes thread 10.
    processes.retire(10);
    exec(&mut processes, 10, 11, "after");
    assert!(!processes.threads.contains_key(&11));
    for tid in 1000..1000 + 2 * RETIRED_MAX as u32 {
        fork(&mut processes, 10, tid, tid);
        processes.retire(tid);
    }
    assert_eq!(&*process_of(&processes, 10).name, b"after");
}

#[test]
fn exited_threads_are_forgotten_and_their_places_used_again() {
    let mut processes = Processes::new(false);
    for round in 0..4 {
        for tid in 1000..1000 + RETIRED_MAX as u32 {
            fork(&mut processes, 1, tid + round * 100_000, tid + round * 100_000);
            processes.retire(tid + round * 100_000);
        }
    }
    assert!(processes.threads.len() <= RETIRED_MAX + 1, "{}", processes.threads.len());
    assert!(processes.processes.len() <= RETIRED_MAX + 2, "{}", processes.processes.len());
}

#[test]
fn a_thread_of_another_process_with_a_known_id_is_a_new_one() {
    let mut processes = Processes::new(false);
    exec(&mut processes, 10, 10, "old");
    fork(&mut processes, 10, 10, 11);
    // The end of thread 11 and the fork of process 11 were lost.
    let index = processes.thread_index(11, 11);
    assert_eq!(processes.processes[index as usize].pid, 11);
    assert_eq!(&*processes.processes[index as usize].name, b"");
    assert_eq!(&*process_of(&processes, 10).name, b"old");
}

#[test]
fn what_is_cut_of_an_exec_is_known_as_such() {
    let mut processes = Processes::new(false);
    // SAFETY: a struct of integers, for which all zeroes is a value.
    let mut exec: Exec = unsafe { std::mem::zeroed() };
    exec.head = Header { flags: flags::STR0_CUT | flags::STR1_CUT, ..head(10, 10) };
    exec.old_tid = 10;
    processes.exec(&exec, b"/the/beginning", b"a\0b\0\0");
    assert_eq!(&*process_of(&processes, 10).exe, b"", "another file's path");
    assert_eq!(&*processes.args_of(10), b"a\0b", "no NUL at the end");
    exec.head.flags = 0;
    processes.exec(&exec, b"/bin/a", b"a\0b\0\0");
    assert_eq!(&*process_of(&processes, 10).exe, b"/bin/a");
    assert_eq!(&*processes.args_of(10), b"a\0b\0\0");
}

#[test]
fn details_follow_forks_changes_and_new_sessions() {
    use agent_ebpf::records::details::{ProcessDetails, TaskDetails, ThreadDetails};

    let details = |vpid, sid, gid| TaskDetails {
        thread: ThreadDetails { vtid: vpid, gid, ..ThreadDetails::default() },
        process: ProcessDetails { vpid, sid, pgid: sid, tty: 0x8800, ..ProcessDetails::default() },
    };
    let mut processes = Processes::new(false);
    processes.set_details(&head(10, 10), &details(10, 10, 100));
    processes.fork(&Fork {
        head: head(10, 10),
        child_pid: 20,
        child_tid: 20,
        child_ppid: 10,
        child: details(2, 10, 100),
        ..Fork::default()
    });
    let child = |processes: &Processes| process_of(processes, 20).details;
    assert_eq!((child(&processes).vpid, child(&processes).sid), (2, 10));
    assert_eq!(processes.threads[&20].details.gid, 100);

    let changes = processes.changes();
    processes.set_details(&head(20, 20), &details(2, 10, 100));
    assert_eq!(processes.changes(), changes, "nothing has changed");
    processes.set_details(&head(20, 20), &details(2, 10, 101));
    assert_eq!(processes.threads[&20].details.gid, 101);
    assert_ne!(processes.changes(), changes);

    processes.lead_group(20);
    assert_eq!((child(&processes).pgid, child(&processes).vpgid, child(&processes).sid), (20, 2, 10));
    processes.lead_session(20);
    assert_eq!((child(&processes).sid, child(&processes).tty), (20, 0));
    assert_eq!(process_of(&processes, 10).details.sid, 10);

    // Of another process, nothing is known that could be changed.
    fork(&mut processes, 10, 30, 30);
    processes.lead_session(30);
    assert_eq!(process_of(&processes, 30).details, ProcessDetails::default());
    assert_eq!(processes.vpid(30), None);
}
