//! Stages of recording at which events are lost, why, and what helps.

/// A stage of recording at which events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossStage {
    /// Its name, a value of `loss.stage`.
    pub name: &'static str,
    /// Why events are lost there.
    pub why: &'static str,
    /// What helps in the next recording.
    pub advice: &'static str,
}

const fn stage(name: &'static str, why: &'static str, advice: &'static str) -> LossStage {
    LossStage { name, why, advice }
}

/// All stages, from the kernel to the disk.
pub const LOSS_STAGES: [LossStage; 6] = [
    stage(
        "recursion",
        "the kernel skipped an eBPF program that was already running on the CPU",
        "a few are normal; if there are many, record fewer kinds of events with -e (a larger --buffer does not help)",
    ),
    stage("storage", "the kernel had no memory for the state of a thread", "free memory on the host"),
    stage("map", "a table of the eBPF programs was full", "record less with -e or --container"),
    stage(
        "ring",
        "the ring buffer of a CPU was full",
        "use a larger --buffer, or record less with -e or --container",
    ),
    stage(
        "queue",
        "the output was slower than the events came",
        "write to a faster disk, or record less with -e or --container",
    ),
    stage("writer", "they could not be written", "check the disk or the program that the output goes to"),
];

/// The stage of this name.
pub fn loss_stage(name: &str) -> Option<&'static LossStage> {
    LOSS_STAGES.iter().find(|stage| stage.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Kind;

    #[test]
    fn every_stage_of_the_table_of_kinds_is_explained() {
        let column = Kind::Loss.decl().columns.iter().find(|column| column.name == "stage").unwrap();
        let (_, names) = column.doc.split_once(": ").unwrap();
        let mut declared: Vec<&str> = names.split(", ").collect();
        let mut explained = LOSS_STAGES.map(|stage| stage.name);
        declared.sort_unstable();
        explained.sort_unstable();
        assert_eq!(declared, explained);
        assert!(!loss_stage("recursion").unwrap().advice.contains("use a larger --buffer"));
        assert!(loss_stage("ring").unwrap().advice.contains("use a larger --buffer"));
    }
}
