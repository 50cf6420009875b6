//! Generates the syscall tables in `reader/src/syscalls`: numbers from the installed kernel headers, arguments from the
//! running kernel's formats in tracefs. The lists below add what neither contains: the meaning of arguments, calls that this
//! kernel was built without, and the differences of the 32-bit ABI.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The content of the generated files.
pub struct SyscallTables {
    /// `x86_64.tbl`: native and x32 numbers.
    pub x86_64: String,
    /// `i386.tbl`: numbers for 32-bit callers.
    pub i386: String,
}

/// Arguments as (name, type).
type Args = Vec<(String, String)>;

/// Generates the tables.
///
/// `tracefs` is its mount point (`/sys/kernel/tracing`), `headers` the directory of `unistd_64.h`, `unistd_x32.h` and
/// `unistd_32.h` (`/usr/include/x86_64-linux-gnu/asm`).
///
/// # Errors
/// If either cannot be read, or if the arguments of a numbered call are unknown.
pub fn generate(tracefs: &Path, headers: &Path) -> io::Result<SyscallTables> {
    let semantics = semantics();
    let mut signatures = from_tracefs(tracefs, &semantics)?;
    for (name, args) in parse_signatures(EXTRA) {
        signatures.entry(name).or_insert(args);
    }

    let mut native = numbers(&headers.join("unistd_64.h"))?;
    let mut x32 = numbers(&headers.join("unistd_x32.h"))?;
    let mut i386 = numbers(&headers.join("unistd_32.h"))?;
    for &(nr, name, column) in NEWER {
        native.insert(nr, name.to_owned());
        if column == "common" {
            x32.insert(nr, name.to_owned());
            i386.insert(nr, name.to_owned());
        }
    }

    let mut x86_64 = HEAD.to_owned();
    for nr in native.keys().chain(x32.keys()).collect::<BTreeSet<_>>() {
        match (native.get(nr), x32.get(nr)) {
            (Some(a), Some(b)) if a == b => line(&mut x86_64, *nr, "common", a, find(&signatures, a)?),
            (a, b) => {
                for (name, column) in [(a, "64"), (b, "x32")] {
                    if let Some(name) = name {
                        line(&mut x86_64, *nr, column, name, find(&signatures, name)?);
                    }
                }
            }
        }
    }

    let differing: BTreeMap<_, _> = parse_signatures(I386).collect();
    let same: BTreeMap<&str, &str> =
        I386_SAME.split_ascii_whitespace().filter_map(|w| w.split_once('=')).collect();
    let mut compat = HEAD.to_owned();
    for (nr, name) in &i386 {
        let args = match (differing.get(name), same.get(name.as_str())) {
            (Some(args), _) => args,
            (None, Some(other)) => find(&signatures, other)?,
            (None, None) => find(&signatures, name)?,
        };
        line(&mut compat, *nr, "i386", name, args);
    }
    Ok(SyscallTables { x86_64, i386: compat })
}

fn find<'a>(signatures: &'a BTreeMap<String, Args>, name: &str) -> io::Result<&'a Args> {
    signatures.get(name).ok_or_else(|| {
        io::Error::other(format!(
            "arguments of {name} are unknown: this kernel has no format for it; add it to EXTRA"
        ))
    })
}

fn line(out: &mut String, nr: u32, column: &str, name: &str, args: &Args) {
    let _ = write!(out, "{nr} {column} {name}");
    for (arg, ty) in args {
        let _ = write!(out, " {arg}:{ty}");
    }
    out.push('\n');
}

fn with_path(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

/// Numbers and names of the calls in a header. Numbers are without `__X32_SYSCALL_BIT`.
fn numbers(header: &Path) -> io::Result<BTreeMap<u32, String>> {
    let text = std::fs::read_to_string(header).map_err(with_path(header))?;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.strip_prefix("#define __NR_").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let value = value.trim().trim_start_matches("(__X32_SYSCALL_BIT + ").trim_end_matches(')');
        if let Ok(nr) = value.parse() {
            found.insert(nr, name.to_owned());
        }
    }
    Ok(found)
}

fn from_tracefs(tracefs: &Path, semantics: &BTreeMap<&str, &str>) -> io::Result<BTreeMap<String, Args>> {
    let events = tracefs.join("events/syscalls");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&events).map_err(with_path(&events))? {
        let entry = entry?;
        let file = entry.file_name();
        let Some(event) = file.to_str().and_then(|n| n.strip_prefix("sys_enter_")) else { continue };
        let name = RENAMED.iter().find(|(from, _)| *from == event).map_or(event, |(_, to)| to);
        let path = entry.path().join("format");
        let format = std::fs::read_to_string(&path).map_err(with_path(&path))?;
        let args = format
            .lines()
            .filter_map(field)
            .map(|(ctype, arg)| (arg.to_owned(), meaning(semantics, name, ctype, arg)))
            .collect();
        found.insert(name.to_owned(), args);
    }
    Ok(found)
}

/// C type and name of the argument in a line of a format; `None` for fields that every event has.
fn field(line: &str) -> Option<(&str, &str)> {
    let declaration = line.trim().strip_prefix("field:")?.split(';').next()?;
    let (ctype, name) = declaration.rsplit_once(' ')?;
    (!name.starts_with("common_") && name != "__syscall_nr").then_some((ctype, name))
}

/// Parses [`SEMANTICS`]: maps `call.arg`, or `arg` for all calls, to a type.
fn semantics() -> BTreeMap<&'static str, &'static str> {
    SEMANTICS
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(ty, args)| args.split_ascii_whitespace().map(move |arg| (arg, ty.trim())))
        .collect()
}

fn meaning(semantics: &BTreeMap<&str, &str>, call: &str, ctype: &str, arg: &str) -> String {
    let ctype = ctype.trim_start_matches("const ");
    let pointer = ctype.contains('*') || ctype.starts_with("cap_user_");
    let of_call = semantics.get(format!("{call}.{arg}").as_str());
    let ty = match (of_call, pointer) {
        (Some(ty), _) => ty,
        (None, true) if ctype == "char *" && PATHS.contains(&arg) => "path",
        (None, true) => "ptr",
        (None, false) => semantics.get(arg).copied().unwrap_or_else(|| by_ctype(ctype)),
    };
    // If the kernel takes a length as 32 bits, the upper half of the register is garbage: use the 32-bit type.
    let ty =
        if *ty == *"size" && ctype != "size_t" && ctype != "unsigned long" { by_ctype(ctype) } else { ty };
    ty.to_owned()
}

fn by_ctype(ctype: &str) -> &'static str {
    match ctype {
        "umode_t" => "mode",
        "pid_t" => "pid",
        "uid_t" => "uid",
        "gid_t" => "gid",
        "size_t" => "size",
        "loff_t" | "off_t" => "offset",
        "clockid_t" => "clock_const",
        "mqd_t" => "fd",
        "int" | "__s32" | "key_t" | "key_serial_t" | "timer_t" => "int",
        "unsigned int" | "unsigned" | "u32" | "__u32" | "qid_t" => "uint",
        "long" => "long",
        _ if ctype.starts_with("enum ") => "const",
        _ => "ulong",
    }
}

/// Parses lines of the form `name arg:type ...`.
fn parse_signatures(text: &str) -> impl Iterator<Item = (String, Args)> {
    text.lines().filter(|line| !line.is_empty()).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let args = words.filter_map(|w| w.split_once(':')).map(|(a, t)| (a.to_owned(), t.to_owned()));
        Some((name, args.collect()))
    })
}

const HEAD: &str = "# Made by `cargo xtask syscalls`; do not edit.\n# number abi name argument:type ...\n";

/// Formats in tracefs are named after the kernel's function, numbers after the call.
const RENAMED: &[(&str, &str)] = &[
    ("newstat", "stat"),
    ("newfstat", "fstat"),
    ("newlstat", "lstat"),
    ("newuname", "uname"),
    ("sendfile64", "sendfile"),
    ("umount", "umount2"),
];

/// Calls that the headers of the oldest supported build distribution do not have yet.
const NEWER: &[(u32, &str, &str)] = &[
    (335, "uretprobe", "64"),
    (336, "uprobe", "64"),
    (451, "cachestat", "common"),
    (452, "fchmodat2", "common"),
    (453, "map_shadow_stack", "64"),
    (454, "futex_wake", "common"),
    (455, "futex_wait", "common"),
    (456, "futex_requeue", "common"),
    (457, "statmount", "common"),
    (458, "listmount", "common"),
    (459, "lsm_get_self_attr", "common"),
    (460, "lsm_set_self_attr", "common"),
    (461, "lsm_list_modules", "common"),
    (462, "mseal", "common"),
    (463, "setxattrat", "common"),
    (464, "getxattrat", "common"),
    (465, "listxattrat", "common"),
    (466, "removexattrat", "common"),
    (467, "open_tree_attr", "common"),
    (468, "file_getattr", "common"),
    (469, "file_setattr", "common"),
    (470, "listns", "common"),
];

/// Names of `char *` arguments that are paths wherever they occur.
const PATHS: &[&str] = &[
    "filename",
    "pathname",
    "path",
    "oldname",
    "newname",
    "dev_name",
    "dir_name",
    "new_root",
    "put_old",
    "specialfile",
    "special",
    "from_pathname",
    "to_pathname",
];

/// Types of arguments whose meaning does not follow from their C type. A bare name applies to scalar arguments of that name
/// in every call.
const SEMANTICS: &str = include_str!("syscalls/semantics.txt");

/// Calls that a kernel may be built without, or that have a number but never existed.
const EXTRA: &str = "
uselib library:path
_sysctl args:ptr
create_module name:string size:size
init_module umod:ptr len:size uargs:string
delete_module name_user:string flags:delete_module_flags
finit_module fd:fd uargs:string flags:finit_module_flags
get_kernel_syms table:ptr
query_module name:string which:const buf:ptr bufsize:size ret:ptr
nfsservctl cmd:nfsservctl_cmd arg:ptr res:ptr
getpmsg
putpmsg
afs_syscall
tuxcall
security
vserver
set_thread_area u_info:ptr
get_thread_area u_info:ptr
lookup_dcookie cookie64:ulong buf:ptr len:size
epoll_ctl_old
epoll_wait_old
kexec_load entry:address nr_segments:ulong segments:ptr flags:kexec_flags
kexec_file_load kernel_fd:fd initrd_fd:fd cmdline_len:size cmdline_ptr:ptr flags:kexec_file_flags
map_shadow_stack addr:address size:size flags:shadow_stack_flags
listns req:ptr ns_ids:ptr nr_ns_ids:size flags:flags
uretprobe
uprobe
mbind start:address len:size mode:mempolicy_const nmask:nodes_in maxnode:size flags:mempolicy_flags
set_mempolicy mode:mempolicy_const nmask:nodes_in maxnode:size
get_mempolicy policy:mempolicies_out nmask:nodes_out maxnode:size addr:address flags:mempolicy_flags
migrate_pages pid:pid maxnode:size old_nodes:nodes_counted_in new_nodes:nodes_counted_in
move_pages pid:pid nr_pages:ulong pages:ptr nodes:page_nodes_in status:page_states_out flags:move_pages_flags
";

/// Calls that exist only in the 32-bit ABI or take different arguments there: 64-bit values are split into two halves, and
/// old calls have different layouts.
const I386: &str = "
waitpid pid:pid stat_addr:wait_status_out options:wait_flags
break
oldstat filename:path statbuf:ptr
oldfstat fd:fd statbuf:ptr
oldlstat filename:path statbuf:ptr
umount name:path
stime tptr:ptr
stty
gtty
nice increment:int
ftime
prof
profil
signal sig:signal handler:address
lock
mpx
ulimit
idle
oldolduname name:ptr
olduname name:ptr
sigaction sig:signal act:ptr oact:ptr
sgetmask
ssetmask newmask:flags
sigsuspend unused1:int unused2:int mask:flags
sigpending uset:ptr
sigprocmask how:sigprocmask_const nset:ptr oset:ptr
sigreturn
select arg:ptr
readdir fd:fd dirent:ptr count:size
mmap arg:ptr
mmap2 addr:address len:size prot:mmap_prot flags:mmap_flags fd:fd pgoff:offset
socketcall call:socketcall_cmd args:ptr
ipc call:ipc_cmd first:int second:ulong third:ulong ptr:ptr fifth:long
clone clone_flags:clone_flags newsp:address parent_tidptr:address tls:address child_tidptr:address
bdflush func:int data:long
_llseek fd:fd offset_high:ulong offset_low:ulong result:offsets_out whence:whence_const
vm86old user_vm86:ptr
vm86 cmd:vm86_cmd arg:ulong
pread64 fd:fd buf:ptr count:size poslo:uint poshi:uint
pwrite64 fd:fd buf:ptr count:size poslo:uint poshi:uint
truncate64 filename:path offset_low:uint offset_high:uint
ftruncate64 fd:fd offset_low:uint offset_high:uint
readahead fd:fd off_lo:uint off_hi:uint count:size
lookup_dcookie cookie_low:uint cookie_high:uint buf:ptr len:size
fadvise64 fd:fd offset_lo:uint offset_hi:uint len:size advice:fadvise_const
fadvise64_64 fd:fd offset_low:uint offset_high:uint len_low:uint len_high:uint advice:fadvise_const
sync_file_range fd:fd off_low:uint off_hi:uint n_low:uint n_hi:uint flags:sync_range_flags
fallocate fd:fd mode:fallocate_flags offset_lo:uint offset_hi:uint len_lo:uint len_hi:uint
fanotify_mark fanotify_fd:fd flags:fanotify_mark_flags mask_lo:uint mask_hi:uint dfd:dirfd pathname:path
preadv fd:fd vec:ptr vlen:ulong pos_low:uint pos_high:uint
pwritev fd:fd vec:ptr vlen:ulong pos_low:uint pos_high:uint
preadv2 fd:fd vec:ptr vlen:ulong pos_low:uint pos_high:uint flags:rwf_flags
pwritev2 fd:fd vec:ptr vlen:ulong pos_low:uint pos_high:uint flags:rwf_flags
stat64 filename:path statbuf:stat64_out
lstat64 filename:path statbuf:stat64_out
fstat64 fd:fd statbuf:stat64_out
fstatat64 dfd:dirfd filename:path statbuf:stat64_out flag:at_flags
sendfile64 out_fd:fd in_fd:fd offset:offsets_in count:size
statfs64 pathname:path sz:size buf:ptr
fstatfs64 fd:fd sz:size buf:ptr
";

/// Calls of the 32-bit ABI with the arguments of a 64-bit call of another name.
const I386_SAME: &str = "
ugetrlimit=getrlimit fcntl64=fcntl
lchown32=lchown chown32=chown fchown32=fchown getuid32=getuid getgid32=getgid geteuid32=geteuid
getegid32=getegid setreuid32=setreuid setregid32=setregid getgroups32=getgroups setgroups32=setgroups
setresuid32=setresuid getresuid32=getresuid setresgid32=setresgid getresgid32=getresgid setuid32=setuid
setgid32=setgid setfsuid32=setfsuid setfsgid32=setfsgid _newselect=select
clock_gettime64=clock_gettime clock_settime64=clock_settime clock_adjtime64=clock_adjtime
clock_getres_time64=clock_getres clock_nanosleep_time64=clock_nanosleep timer_gettime64=timer_gettime
timer_settime64=timer_settime timerfd_gettime64=timerfd_gettime timerfd_settime64=timerfd_settime
utimensat_time64=utimensat pselect6_time64=pselect6 ppoll_time64=ppoll io_pgetevents_time64=io_pgetevents
recvmmsg_time64=recvmmsg mq_timedsend_time64=mq_timedsend mq_timedreceive_time64=mq_timedreceive
semtimedop_time64=semtimedop rt_sigtimedwait_time64=rt_sigtimedwait futex_time64=futex
sched_rr_get_interval_time64=sched_rr_get_interval
";
