//! The fields of processes, threads and users.

use super::{field, unrecorded};
use crate::fields::FieldType::{Bool, Duration, Number, Text, Unsigned};
use crate::fields::decl::{FieldArg, FieldDecl, Getter};
use crate::fields::{ancestors, task};

/// The rows.
pub(super) const FIELDS: &[FieldDecl] = &[
    field("proc.name", Text, Getter::Task(task::process_name), "the name of the process (its main thread)")
        .json(20)
        .csv(16),
    field("proc.pid", Unsigned, Getter::Task(task::pid), "the process id in the initial namespace")
        .json(21)
        .csv(17),
    field("proc.ppid", Unsigned, Getter::Task(task::parent_pid), "the process id of the parent at that time").json(22),
    field("proc.pname", Text, Getter::Task(task::parent_name), "the name of the parent at that time").json(23),
    field("proc.vpid", Unsigned, Getter::Task(task::virtual_pid), "the process id in the process's own pid namespace, as a container shows it"),
    field("proc.sid", Unsigned, Getter::Task(task::session), "the session of the process, in the initial pid namespace"),
    field(
        "proc.sname",
        Text,
        Getter::Process(ancestors::SESSION_NAME),
        "the name of the leader of that session, or of the oldest ancestor in it",
    ),
    field("proc.is_sid_leader", Bool, Getter::Task(task::is_session_leader), "whether the process is the leader of its session"),
    field("proc.pgid", Unsigned, Getter::Task(task::group_id), "the process group, in the initial pid namespace"),
    field("proc.vpgid", Unsigned, Getter::Task(task::virtual_group_id), "the process group in the process's own pid namespace; 0 if the group is outside"),
    field("proc.is_pgid_leader", Bool, Getter::Task(task::is_group_leader), "whether the process is the leader of its process group"),
    field("proc.is_vpgid_leader", Bool, Getter::Task(task::is_virtual_group_leader), "the same, by the ids in its own pid namespace"),
    field("proc.tty", Unsigned, Getter::Task(task::terminal), "the device number of the controlling terminal, as in /proc/PID/stat; 0 if there is none"),
    field("proc.pexe", Text, Getter::Process(ancestors::PARENT_EXE), "the first argument of the parent, as it was given"),
    field("proc.pexepath", Text, Getter::Process(ancestors::PARENT_EXE_PATH), "the path of the parent's executable"),
    field(
        "proc.pcmdline",
        Text,
        Getter::Process(ancestors::PARENT_COMMAND_LINE),
        "the name of the parent and its arguments after the first",
    ),
    field(
        "proc.aname",
        Text,
        Getter::Process(ancestors::NAMES),
        "the name of an ancestor: of proc.aname[1], the parent, of proc.aname[2], its parent, of proc.aname[0], the process itself; without a number all ancestors, of which one is enough in a comparison; in JSON an array",
    )
    .arg(FieldArg::Generation),
    field("proc.apid", Unsigned, Getter::Process(ancestors::IDS), "the process id of an ancestor, as in proc.aname").arg(FieldArg::Generation),
    field("proc.aexe", Text, Getter::Process(ancestors::EXES), "the first argument of an ancestor, as it was given").arg(FieldArg::Generation),
    field("proc.aexepath", Text, Getter::Process(ancestors::EXE_PATHS), "the path of an ancestor's executable").arg(FieldArg::Generation),
    field(
        "proc.acmdline",
        Text,
        Getter::Process(ancestors::COMMAND_LINES),
        "the name of an ancestor and its arguments after the first",
    )
    .arg(FieldArg::Generation),
    field("proc.exe", Text, Getter::Task(task::exe), "the first argument of the process, as it was given")
        .json(24)
        .marked(task::exe_mark),
    field("proc.cwd", Text, Getter::Task(task::working_directory), "the working directory of the process"),
    unrecorded("proc.env", "never has a value: environments contain secrets, and are not recorded"),
    field("proc.exepath", Text, Getter::Task(task::exe_path), "the path of the executable").json(25),
    field("proc.exe_ino", Unsigned, Getter::Task(task::exe_inode), "the inode number of the executable"),
    field(
        "proc.is_exe_upper_layer",
        Bool,
        Getter::Task(task::is_exe_upper_layer),
        "whether the executable is in the upper layer of an overlayfs: in a container, not from the image",
    ),
    field("proc.is_exe_from_memfd", Bool, Getter::Task(task::is_exe_memfd), "whether the executable is in memory alone, made by memfd_create"),
    field(
        "proc.args",
        Text,
        Getter::Task(task::args),
        "the arguments after the first, joined by spaces; in JSON an array",
    )
    .json(26)
    .marked(task::args_mark)
    .list(task::args_list),
    field(
        "proc.args_cut",
        Bool,
        Getter::Task(task::args_cut),
        "whether the arguments are cut: longer than what is recorded",
    )
    .json(27),
    field(
        "proc.cmdline",
        Text,
        Getter::Task(task::command_line),
        "the name and the arguments after the first",
    )
    .json(28)
    .marked(task::args_mark),
    field("proc.exeline", Text, Getter::Task(task::exe_line), "all arguments, the first one as it was given")
        .marked(task::args_mark),
    field("proc.cmdnargs", Unsigned, Getter::Task(task::args_count), "the number of arguments after the first"),
    field(
        "proc.duration",
        Duration,
        Getter::Event(ancestors::age),
        "how long the process had run when the event started, in ns",
    ),
    field(
        "proc.ppid.duration",
        Duration,
        Getter::Event(ancestors::parent_age),
        "how long the parent had run when the event started, in ns",
    ),
    field("proc.pid.ts", Number, Getter::Event(ancestors::start), "when the process started, in ns since 1970"),
    field("proc.ppid.ts", Number, Getter::Event(ancestors::parent_start), "when the parent started, in ns since 1970"),
    field("thread.ismain", Bool, Getter::Task(task::is_main), "whether the thread is the main thread of its process"),
    field("thread.tid", Unsigned, Getter::Task(task::tid), "the thread id in the initial namespace")
        .json(30)
        .csv(18),
    field("thread.vtid", Unsigned, Getter::Task(task::virtual_tid), "the thread id in the thread's own pid namespace"),
    field("thread.cap_effective", Text, Getter::Task(task::cap_effective), "the effective capabilities, such as CAP_NET_RAW CAP_SYS_ADMIN; empty text if there are none"),
    field("thread.cap_permitted", Text, Getter::Task(task::cap_permitted), "the permitted capabilities"),
    field("thread.cap_inheritable", Text, Getter::Task(task::cap_inheritable), "the inheritable capabilities"),
    field("thread.name", Text, Getter::Task(task::thread_name), "the name of the thread").json(29).csv(19),
    field("user.uid", Unsigned, Getter::Task(task::uid), "the effective user id in the initial namespace")
        .json(31)
        .csv(20),
    field("user.name", Text, Getter::Task(task::user), "the user's name on the recording host; none in containers").json(32),
    field("user.loginuid", Number, Getter::Task(task::login_uid), "the user id with which the user has logged in; -1 if none has, as for services"),
    field("user.loginname", Text, Getter::Task(task::login_name), "the name of that user on the recording host; none in containers"),
    field("group.gid", Unsigned, Getter::Task(task::gid), "the effective group id in the initial namespace"),
    field("group.name", Text, Getter::Task(task::group), "the group's name on the recording host; none in containers"),
];
