//! What calls change of processes and files.

use super::RowWriter;
use crate::record::cpu_stream::CallRecord;

/// What a call changes that other events show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The path of a file or directory, and of what is in it.
    Renames,
    /// Paths of what is in a directory, or of everything.
    Mounts,
    /// The working directory.
    WorkingDirectory,
    /// The session.
    Session,
    /// The process group.
    Group,
}

impl Effect {
    /// That of a call with this name.
    pub fn of(call: &str) -> Self {
        match call {
            "rename" | "renameat" | "renameat2" => Self::Renames,
            "mount" | "umount" | "umount2" | "oldumount" | "move_mount" | "pivot_root" => Self::Mounts,
            "chdir" | "fchdir" => Self::WorkingDirectory,
            "setsid" => Self::Session,
            "setpgid" => Self::Group,
            _ => Self::None,
        }
    }
}

impl RowWriter {
    /// Follows what a call has changed.
    #[cold]
    pub(super) fn follow(&mut self, effect: Effect, tid: u32, call: &CallRecord<'_>) {
        match effect {
            Effect::Renames => self.follow_rename(call.files, call.strings),
            Effect::Mounts => self.renamed = true,
            Effect::WorkingDirectory => {
                let cwd = self.files.path_of(call.files[1]).unwrap_or_default();
                self.processes.set_cwd(tid, cwd);
            }
            Effect::Session => self.processes.lead_session(tid),
            // Anything else is reported when the process that it changes gets the CPU next.
            Effect::Group => {
                let vpid = self.processes.vpid(tid).map(u64::from);
                let own = |id: u64| id == 0 || Some(id) == vpid;
                if own(call.args[0]) && own(call.args[1]) {
                    self.processes.lead_group(tid);
                }
            }
            Effect::None => {}
        }
    }

    /// Follows the change of a path. `files`: the directories that both paths start from.
    pub(super) fn follow_rename(&mut self, files: [u64; 2], paths: [&[u8]; 2]) {
        let [old, new] = [0, 1].map(|at| self.files.absolute(files[at], paths[at]));
        self.renamed |= match (old, new) {
            (Some(old), Some(new)) => self.files.rename(&old, &new),
            // Perhaps.
            _ => true,
        };
    }
}
