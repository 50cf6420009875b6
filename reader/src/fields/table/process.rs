//! The fields of processes, threads and users.

use super::field;
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
    field("proc.exepath", Text, Getter::Task(task::exe_path), "the path of the executable").json(25),
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
    field("thread.name", Text, Getter::Task(task::thread_name), "the name of the thread").json(29).csv(19),
    field("user.uid", Unsigned, Getter::Task(task::uid), "the effective user id in the initial namespace")
        .json(31)
        .csv(20),
    field("user.name", Text, Getter::Task(task::user), "the user's name on the recording host; none in containers").json(32),
];
