//! Rows of threads and processes.

use super::dict_rows::{ProcessRow, TaskRow};
use super::dictionaries::{PROCESS, TASK, dict_column};
use super::rows::ChunkView;

impl<'c> ChunkView<'c> {
    /// A row of the task dictionary.
    pub fn task(&self, row: u32) -> TaskRow<'c> {
        const C: [u16; 14] = [
            dict_column(TASK, "process"),
            dict_column(TASK, "tid"),
            dict_column(TASK, "name"),
            dict_column(TASK, "uid"),
            dict_column(TASK, "user"),
            dict_column(TASK, "cgroup"),
            dict_column(TASK, "vtid"),
            dict_column(TASK, "gid"),
            dict_column(TASK, "group"),
            dict_column(TASK, "loginuid"),
            dict_column(TASK, "login"),
            dict_column(TASK, "cap_effective"),
            dict_column(TASK, "cap_permitted"),
            dict_column(TASK, "cap_inheritable"),
        ];
        let d = &self.tasks;
        TaskRow {
            process: d.reference(C[0], row),
            tid: d.number(C[1], row),
            name: d.string(self.chunk, C[2], row),
            uid: d.number(C[3], row),
            user: d.string(self.chunk, C[4], row),
            cgroup: d.reference(C[5], row),
            vtid: d.number(C[6], row),
            gid: d.number(C[7], row),
            group: d.string(self.chunk, C[8], row),
            loginuid: d.number(C[9], row),
            login: d.string(self.chunk, C[10], row),
            capabilities: [C[11], C[12], C[13]].map(|column| d.number(column, row)),
        }
    }

    /// A row of the process dictionary.
    pub fn process(&self, row: u32) -> ProcessRow<'c> {
        const C: [u16; 18] = [
            dict_column(PROCESS, "pid"),
            dict_column(PROCESS, "ppid"),
            dict_column(PROCESS, "pname"),
            dict_column(PROCESS, "name"),
            dict_column(PROCESS, "exe"),
            dict_column(PROCESS, "args"),
            dict_column(PROCESS, "start"),
            dict_column(PROCESS, "parent_chain"),
            dict_column(PROCESS, "cwd"),
            dict_column(PROCESS, "parent"),
            dict_column(PROCESS, "vpid"),
            dict_column(PROCESS, "sid"),
            dict_column(PROCESS, "pgid"),
            dict_column(PROCESS, "vpgid"),
            dict_column(PROCESS, "tty"),
            dict_column(PROCESS, "exe_ino"),
            dict_column(PROCESS, "exe_upper_layer"),
            dict_column(PROCESS, "exe_memfd"),
        ];
        let d = &self.processes;
        ProcessRow {
            pid: d.number(C[0], row),
            start: d.number(C[6], row),
            ppid: d.number(C[1], row),
            pname: d.string(self.chunk, C[2], row),
            name: d.string(self.chunk, C[3], row),
            exe: d.string(self.chunk, C[4], row),
            args: d.string(self.chunk, C[5], row),
            parent_chain: d.string(self.chunk, C[7], row),
            cwd: d.string(self.chunk, C[8], row),
            parent: d.reference(C[9], row).filter(|parent| *parent < row),
            vpid: d.number(C[10], row),
            sid: d.number(C[11], row),
            pgid: d.number(C[12], row),
            vpgid: d.number(C[13], row),
            tty: d.number(C[14], row),
            exe_ino: d.number(C[15], row),
            is_exe_upper_layer: d.number(C[16], row) != 0,
            is_exe_memfd: d.number(C[17], row) != 0,
        }
    }
}
