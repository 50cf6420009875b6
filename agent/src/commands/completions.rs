//! `ktape completions`: shell completions, generated from the definition of the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

const EXAMPLES: &str = "\
Examples:
  ktape completions bash | sudo tee /usr/share/bash-completion/completions/ktape
  ktape completions zsh | sudo tee /usr/share/zsh/site-functions/_ktape
  mkdir -p ~/.config/fish/completions &&
      ktape completions fish > ~/.config/fish/completions/ktape.fish";

/// Arguments of `ktape completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that are common on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

/// Prints the script that completes `command`.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &CompletionsArgs, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(args.shell), &mut command, "ktape", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}
