//! `ktape completions`: shell completions, generated from the definition of the command line.

use std::borrow::Cow;
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

/// Names of views after a capture, and after `ktape views`: those that there are when they are completed.
const BASH: &str = r#"
_ktape_views() {
    ktape views --format json 2>/dev/null | sed -n 's/.*"name":"\([a-z0-9-]*\)".*/\1/p'
}

_ktape_with_views() {
    _ktape "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    if [[ "$cur" == -* || "$prev" == -* ]]; then
        return 0
    fi
    if [[ "${COMP_WORDS[1]}" == stats && "$COMP_CWORD" -gt 2 ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=( $(compgen -W "$(_ktape_views)" -- "$cur") $(compgen -f -- "$cur") )
    elif [[ "${COMP_WORDS[1]}" == views ]]; then
        COMPREPLY=( $(compgen -W "$(_ktape_views)" -- "$cur") )
    fi
    return 0
}

"#;

const ZSH: &str = r#"
(( $+functions[_ktape_views] )) ||
_ktape_views() {
    local -a views
    views=( ${(f)"$(ktape views --format json 2>/dev/null | sed -n 's/.*"name":"\([a-z0-9-]*\)".*/\1/p')"} )
    compadd -a views
}

(( $+functions[_ktape_views_and_files] )) ||
_ktape_views_and_files() {
    _alternative 'views:view:_ktape_views' 'files:file:_files'
}

"#;

const FISH: &str = r#"
function __fish_ktape_views
    ktape views --format json 2>/dev/null | string replace -rf '^.*"name":"([a-z0-9-]+)".*' '$1'
end
complete -c ktape -n "__fish_ktape_using_subcommand stats" -a "(__fish_ktape_views)" -d view
complete -c ktape -n "__fish_ktape_using_subcommand views" -f -a "(__fish_ktape_views)" -d view
"#;

/// Adds the names of views to a script.
fn with_views(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => {
            // Before the lines that register the function.
            let (functions, registered) = script.rsplit_once("\nif [[").unwrap_or((script, ""));
            let registered = registered.replace("-F _ktape ", "-F _ktape_with_views ");
            format!("{functions}{BASH}if [[{registered}")
        }
        Shell::Zsh => {
            let lines = script.lines().map(|line| match line {
                line if line.starts_with("'*::inputs -- ") && line.contains("the name of a view") => {
                    Cow::Owned(line.replace(":_default'", ":_ktape_views_and_files'"))
                }
                line if line.starts_with("'::name -- Explain this view") => {
                    Cow::Owned(line.replace(":_default'", ":_ktape_views'"))
                }
                line => Cow::Borrowed(line),
            });
            let script: Vec<Cow<'_, str>> = lines.collect();
            let script = script.join("\n") + "\n";
            let (functions, registered) = script.rsplit_once("\nif [ ").unwrap_or((&script, ""));
            format!("{functions}{ZSH}if [ {registered}")
        }
        Shell::Fish => format!("{script}{FISH}"),
    }
}

/// Prints the script that completes `command`.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &CompletionsArgs, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(args.shell), &mut command, "ktape", &mut script);
    let script = with_views(args.shell, &String::from_utf8_lossy(&script));
    match io::stdout().write_all(script.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}
