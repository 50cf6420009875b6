//! Finds the processes that read the output, from the pipes that processes have open, pipe after pipe.

use std::collections::{BTreeMap, BTreeSet};

use super::descriptors::{Pipe, PipeEnd};

/// Standard input.
const STDIN: u32 = 0;
/// Standard output.
const STDOUT: u32 = 1;
/// Standard error: what a reader writes there is no copy of the output.
const STDERR: u32 = 2;

/// How a process reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// At some other descriptor, such as a program that has started ktape: it is not recorded, but what it starts besides is.
    Holder,
    /// As its standard input: what it starts works on the output, too.
    Stage,
}

/// The readers of `output` among these processes, and of the pipes that its stages write to.
pub fn roles(output: &Pipe, processes: &BTreeMap<u32, Vec<PipeEnd>>) -> BTreeMap<u32, Role> {
    let mut found: BTreeMap<u32, Role> = BTreeMap::new();
    let mut pipes: BTreeSet<&Pipe> = BTreeSet::from([output]);
    loop {
        let known = pipes.len();
        for (pid, ends) in processes {
            let role = role(ends, &pipes);
            if role == Some(Role::Stage) {
                pipes
                    .extend(ends.iter().filter(|end| end.writes && leads_on(end, ends)).map(|end| &end.pipe));
            }
            if let Some(role) = role {
                found.insert(*pid, role);
            }
        }
        if pipes.len() == known {
            return found;
        }
    }
}

fn role(ends: &[PipeEnd], pipes: &BTreeSet<&Pipe>) -> Option<Role> {
    let read = ends.iter().filter(|end| end.reads && pipes.contains(&end.pipe));
    read.map(|end| if end.fd == STDIN { Role::Stage } else { Role::Holder }).max()
}

/// Whether what a stage writes there may be the output. Standard error is, only if it is the same as standard output.
fn leads_on(end: &PipeEnd, ends: &[PipeEnd]) -> bool {
    end.fd != STDERR || ends.iter().any(|other| other.fd == STDOUT && other.pipe == end.pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Descriptors such as `0r:a 1w:b`.
    fn ends(text: &str) -> Vec<PipeEnd> {
        text.split_whitespace()
            .map(|word| {
                let (how, name) = word.split_once(':').unwrap();
                let (fd, mode) = how.split_at(how.len() - 1);
                PipeEnd {
                    fd: fd.parse().unwrap(),
                    pipe: Pipe::named(name),
                    reads: mode == "r",
                    writes: mode == "w",
                }
            })
            .collect()
    }

    fn found(processes: &[(u32, &str)]) -> Vec<(u32, Role)> {
        let processes = processes.iter().map(|(pid, text)| (*pid, ends(text))).collect();
        roles(&Pipe::named("out"), &processes).into_iter().collect()
    }

    #[test]
    fn a_pipeline_is_followed_to_its_end_whatever_the_order_of_ids() {
        assert_eq!(
            found(&[
                (5, "0r:b 1w:c"),
                (7, "0r:out 1w:a 2w:errors"),
                (9, "0r:a 1w:b"),
                (11, "0r:c"),
                (12, "0r:d")
            ]),
            [(5, Role::Stage), (7, Role::Stage), (9, Role::Stage), (11, Role::Stage)]
        );
    }

    #[test]
    fn a_program_that_started_ktape_is_a_holder_and_what_it_writes_is_its_own() {
        assert_eq!(found(&[(5, "0r:x 4r:out 5w:a"), (6, "0r:a")]), [(5, Role::Holder)]);
    }

    #[test]
    fn errors_of_a_stage_are_followed_only_with_its_output() {
        assert_eq!(found(&[(5, "0r:out 2w:e"), (6, "3r:e")]), [(5, Role::Stage)]);
        assert_eq!(found(&[(5, "0r:out 1w:e 2w:e"), (6, "3r:e")]), [(5, Role::Stage), (6, Role::Holder)]);
    }

    #[test]
    fn a_stage_of_a_process_substitution_is_found() {
        // tee >(grep x)
        assert_eq!(found(&[(5, "0r:out 63w:a"), (6, "0r:a")]), [(5, Role::Stage), (6, Role::Stage)]);
    }

    #[test]
    fn rings_of_pipes_end() {
        assert_eq!(found(&[(5, "0r:out 1w:a"), (6, "0r:a 1w:out")]), [(5, Role::Stage), (6, Role::Stage)]);
        assert_eq!(found(&[(5, "1w:out"), (6, "0r:y")]), []);
    }
}
