use clap_complete::Shell;

use super::*;

/// The command itself and all its subcommands, but the generated `help`.
fn all() -> Vec<clap::Command> {
    let mut root = command();
    root.build();
    let of_root = root.get_subcommands().filter(|command| command.get_name() != "help").cloned();
    std::iter::once(root.clone()).chain(of_root).collect()
}

#[test]
fn the_definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn help_fits_80_columns_and_groups_every_option() {
    for command in all() {
        let text = command.clone().term_width(80).render_help().to_string();
        let name = command.get_name().to_owned();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let asked = |flag: &str| {
            let words =
                if name == "ktape" { vec!["ktape", flag] } else { vec!["ktape", name.as_str(), flag] };
            super::command().try_get_matches_from(words).unwrap_err().to_string()
        };
        assert_eq!(asked("-h"), asked("--help"), "{name}: one form, without blank lines between options");
        for option in command.get_opts() {
            assert!(option.get_help().is_some(), "{name}: {} has no help", option.get_id());
        }
    }
    let of = |name: &str| all().into_iter().find(|command| command.get_name() == name).unwrap();
    let headings = |name: &str| -> Vec<String> {
        let text = of(name).render_help().to_string();
        let lines = text.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':'));
        lines.map(|line| line.trim_end_matches(':').to_owned()).collect()
    };
    let groups = ["Arguments", "What to record", "Output", "Retention", "Containers", "Advanced", "General"];
    assert_eq!(headings("capture")[..7], groups);
    let groups = ["Arguments", "What to record", "Output", "Containers", "Advanced", "General"];
    assert_eq!(headings("watch")[..6], groups);
    let groups = ["Arguments", "Which events", "Output", "Playback", "General"];
    assert_eq!(headings("replay")[..5], groups);
}

#[test]
fn double_dash_needs_a_command() {
    let parsed = |line: &str| Cli::from_args(line.split(' ').map(Into::into).collect());
    let error = parsed("ktape capture -d 1s --").unwrap_err().to_string();
    assert!(error.contains("no COMMAND after `--`"), "{error}");
    for line in ["ktape capture -- true", "ktape capture -- --", "ktape capture", "ktape replay a.ktape --"] {
        assert!(parsed(line).is_ok(), "{line}");
    }
}

#[test]
fn examples_in_help_parse() {
    let mut count = 0;
    for mut command in all() {
        let text = command.render_help().to_string();
        for line in text.lines().map(str::trim_start) {
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            if !line.starts_with("ktape ") {
                continue;
            }
            // Two spaces end the example, what follows describes it; the rest of a pipe or a
            // redirection is the shell's.
            let example = line.split("  ").next().unwrap();
            let command_line = [" | ", " > /", " > ~"]
                .into_iter()
                .fold(example, |line, mark| line.split(mark).next().unwrap());
            let words = split(command_line);
            let parsed = super::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{}: {example}: {}", command.get_name(), parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 20, "{count} examples");
}

/// Words of a shell's line, with single quotes alone.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn completions_have_every_command_and_option() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut command(), "ktape", &mut out);
        let script = String::from_utf8(out).unwrap();
        for command in all() {
            assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            for long in command.get_opts().filter_map(clap::Arg::get_long) {
                assert!(script.contains(long), "{shell}: {} --{long}", command.get_name());
            }
        }
    }
}
