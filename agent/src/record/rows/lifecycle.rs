//! Forks, execs, exits and renames of threads; creation, removal and members of cgroups.

use agent_ebpf::records::{Change, Exit, Fork, Rename, cgroup_class};
use capture_format::ChunkBuilder;
use events::Kind;

use super::{RowWriter, col};
use crate::record::decode;
use crate::record::processes::comm;

impl RowWriter {
    pub(super) fn fork(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        if decode::is_change(bytes) {
            let changed = decode::record::<Change>(bytes)?;
            self.processes.set_parent(&changed.head, changed.ppid);
            self.processes.name_parent(&changed.head, &changed.comm);
            self.processes.set_details(&changed.head, &changed.details);
            return Some(());
        }
        let fork: Fork = decode::record(bytes)?;
        self.processes.set_parent(&fork.head, fork.ppid);
        self.processes.fork(&fork);
        if fork.child_pid != fork.head.pid {
            if fork.tree != 0 {
                self.scope.add_process(fork.child_pid);
            }
            self.scope.forked(fork.head.pid, fork.child_pid);
            if let Some(readers) = &self.readers {
                readers.forked(fork.head.pid, fork.child_pid);
            }
        }
        let is_child_wanted = self.wants_cgroup(Kind::Fork, fork.child_cgroup);
        if self.scope.is_tree() && fork.tree == 0
            || self.scope.is_excluded(fork.head.pid)
            || !(is_child_wanted || self.wants_cgroup(Kind::Fork, fork.head.cgroup))
        {
            return Some(());
        }
        self.count(fork.head.cgroup);
        let index = self.common(builder, Kind::Fork, &fork.head, fork.uid);
        let ids = [fork.child_pid, fork.child_tid].map(|id| self.shown_id(fork.child_cgroup, id));
        let child_cgroup = self.cgroup_row(builder, fork.child_cgroup);
        let table = builder.table_at(index);
        table.push_u64(col!(Fork, "child_pid"), ids[0]);
        table.push_u64(col!(Fork, "child_tid"), ids[1]);
        table.push_u64(col!(Fork, "thread"), u64::from(fork.child_pid == fork.head.pid));
        table.push_ref(col!(Fork, "child_cgroup"), child_cgroup);
        table.end_row();
        Some(())
    }

    pub(super) fn exec(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record = decode::exec(bytes)?;
        let exec = record.fixed;
        let old_comm = self.processes.exec(&exec, record.path, record.args);
        self.processes.set_details(&exec.head, &exec.details);
        if let Some(exe) = self.files.shown_path(exec.exe) {
            self.processes.set_exe(exec.head.tid, &exe);
        }
        if exec.old_tid != exec.head.tid {
            self.entered.continues(exec.old_tid, exec.head.tid);
        }
        if let Some(readers) = &self.readers {
            readers.executed(exec.head.pid);
        }
        self.processes.set_parent(&exec.head, exec.ppid);
        if !self.wants(Kind::Exec, &exec.head) {
            return Some(());
        }
        self.count(exec.head.cgroup);
        let index = self.common(builder, Kind::Exec, &exec.head, exec.uid);
        let path = builder.intern(record.path);
        let args = builder.intern(&self.processes.args_of(exec.head.tid));
        let old_comm = builder.intern(&old_comm);
        let table = builder.table_at(index);
        table.push_bytes(col!(Exec, "path"), path);
        table.push_bytes(col!(Exec, "args"), args);
        table.push_u64(col!(Exec, "old_tid"), u64::from(exec.old_tid));
        table.push_bytes(col!(Exec, "old_comm"), old_comm);
        table.end_row();
        Some(())
    }

    pub(super) fn exit(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let exit: Exit = decode::record(bytes)?;
        self.entered.forget(exit.head.tid);
        self.processes.set_parent(&exit.head, exit.ppid);
        if self.wants(Kind::Exit, &exit.head) {
            self.count(exit.head.cgroup);
            let index = self.common(builder, Kind::Exit, &exit.head, exit.uid);
            let table = builder.table_at(index);
            table.push_i64(col!(Exit, "status"), i64::from(exit.code >> 8 & 0xff));
            table.push_u64(col!(Exit, "signal"), u64::from(exit.code & 0x7f));
            table.push_u64(col!(Exit, "core"), u64::from(exit.code >> 7 & 1));
            table.push_u64(col!(Exit, "process"), u64::from(exit.process));
            table.end_row();
        }
        if exit.process != 0 {
            self.processes.end(&exit.head);
            self.scope.remove_process(exit.head.pid);
        }
        self.processes.retire(exit.head.tid);
        Some(())
    }

    pub(super) fn rename(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let rename: Rename = decode::record(bytes)?;
        let head = rename.head;
        self.processes.rename(head.pid, head.tid, &rename.comm);
        self.processes.set_parent(&head, rename.ppid);
        if !self.wants(Kind::Rename, &head) {
            return Some(());
        }
        self.count(head.cgroup);
        let index = self.common(builder, Kind::Rename, &head, rename.uid);
        let name = builder.intern(comm(&rename.comm));
        let table = builder.table_at(index);
        table.push_bytes(col!(Rename, "comm"), name);
        table.end_row();
        Some(())
    }

    pub(super) fn cgroup(&mut self, builder: &mut ChunkBuilder, kind: Kind, bytes: &[u8]) -> Option<()> {
        let record = decode::cgroup(bytes)?;
        self.processes.set_parent(&record.head, record.ppid);
        if record.head.class == cgroup_class::IO {
            match kind {
                Kind::CgroupMkdir => self.cgroups.io_mkdir(record.id, record.head.time, record.path),
                _ => self.cgroups.io_rmdir(record.id),
            }
            return Some(());
        }
        if kind == Kind::CgroupMkdir && !self.cgroups.mkdir(record.id, record.head.time, record.path) {
            self.disallowed.push(record.id);
        }
        let in_scope = self.scope.has_process(record.head.pid) || self.scope.has_process(record.moved_pid);
        if in_scope && (self.wants_cgroup(kind, record.id) || self.wants_cgroup(kind, record.head.cgroup)) {
            self.count(record.id);
            let index = self.common(builder, kind, &record.head, record.uid);
            let ids = [record.moved_pid, record.moved_tid].map(|id| self.shown_id(record.id, id));
            let row = self.cgroup_row(builder, record.id);
            let table = builder.table_at(index);
            table.push_ref(col!(CgroupMkdir, "cgroup"), row);
            if kind == Kind::CgroupAttach {
                table.push_u64(col!(CgroupAttach, "moved_pid"), ids[0]);
                table.push_u64(col!(CgroupAttach, "moved_tid"), ids[1]);
                table.push_u64(col!(CgroupAttach, "threadgroup"), u64::from(record.threadgroup));
            }
            table.end_row();
        }
        if kind == Kind::CgroupRmdir && self.cgroups.rmdir(record.id) {
            self.disallowed.push(record.id);
        }
        Some(())
    }
}
