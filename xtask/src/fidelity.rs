//! Compares recorded arguments and names of descriptors with strace's, on real programs.

use anyhow::{Result, bail};
use ktape_tests::fidelity::{self, Fidelity, PROGRAMS, Program};
use ktape_tests::{packages, run};

/// Differences that are printed of each program.
const SHOWN: usize = 20;

/// Runs the programs with these names (all if there are none) under strace under ktape, and prints what was found.
///
/// # Errors
/// If a program does not exist or is not installed, or if ktape has another value than strace anywhere.
pub fn compare(names: &[String]) -> Result<()> {
    if !run::is_root() {
        bail!("recording requires root: run sudo -E cargo xtask fidelity");
    }
    packages::install_test_programs()?;
    packages::install_compared_programs()?;
    let mut programs: Vec<&Program> = Vec::new();
    for name in names {
        match Program::named(name) {
            Some(program) => programs.push(program),
            None => {
                let all: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
                bail!("no program `{name}`: use {}", all.join(", "));
            }
        }
    }
    if names.is_empty() {
        programs.extend(PROGRAMS);
    }
    let is_missing = |command: &&&str| run::which(command).is_none();
    let missing: Vec<&str> =
        programs.iter().flat_map(|program| program.needs).filter(is_missing).copied().collect();
    let mut all = Fidelity::default();
    println!(
        "| program | calls | positions | same | not recorded | content | addresses | nameless | different | \
         calls not recorded | names | equal | explained | unknown | wrong |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for program in programs {
        if program.needs.iter().any(|command| missing.contains(command)) {
            println!("| {} | not installed | | | | | | | | | | | | | |", program.name);
            continue;
        }
        let found = one(program)?;
        let (figures, names) = (found.total(), &found.names);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            program.name,
            figures.calls,
            figures.positions,
            figures.same,
            figures.not_recorded,
            figures.content,
            figures.addresses,
            figures.nameless,
            found.differences.len(),
            found.missing.len(),
            names.compared,
            names.equal,
            names.explained.values().sum::<u64>(),
            names.unknown.len(),
            names.wrong.len()
        );
        let undecoded: Vec<String> = found.unexpected().collect();
        for lines in [&found.differences, &undecoded, &found.missing, &names.unknown, &names.wrong] {
            lines.iter().take(SHOWN).for_each(|line| eprintln!("{}: {line}", program.name));
        }
        all.add(found);
    }
    println!("\n{}\n{}", all.table(), all.names.table());
    if !all.is_equal() {
        bail!(
            "{} arguments differ, {} are not decoded, {} calls are missing, {} names are unknown, {} are wrong",
            all.differences.len(),
            all.unexpected().count(),
            all.missing.len(),
            all.names.unknown.len(),
            all.names.wrong.len()
        );
    }
    if !missing.is_empty() {
        bail!("not installed: {}", missing.join(", "));
    }
    Ok(())
}

fn one(program: &Program) -> Result<Fidelity> {
    let dir = tempfile::tempdir()?;
    Ok(fidelity::run(program, dir.path()))
}
