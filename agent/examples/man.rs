//! Writes the man pages of ktape and its commands into a directory: `cargo run -p ktape --example man -- DIR`.

use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("man"), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    for (name, page) in pages()? {
        std::fs::write(dir.join(name), page)?;
    }
    Ok(())
}

/// A page for ktape and one for each of its commands: file name and text.
pub fn pages() -> io::Result<Vec<(String, String)>> {
    let mut root = ktape::cli::command().disable_help_subcommand(true);
    root.build();
    let of_root = root.get_subcommands().cloned();
    std::iter::once(root.clone()).chain(of_root).map(|command| page(command, &root)).collect()
}

fn page(command: clap::Command, root: &clap::Command) -> io::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let version = root.get_version().unwrap_or_default();
    let man = clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .source(format!("ktape {version}"))
        .manual("ktape manual");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    Ok((format!("{name}.1"), unfilled(&text)))
}

/// The page with the text below the options as it stands: its lines are tables and examples, which roff would fill.
fn unfilled(page: &str) -> String {
    let Some((before, notes)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (notes, after) = match notes.find("\n.SH ") {
        Some(end) => notes.split_at(end + 1),
        None => (notes, ""),
    };
    format!("{before}.SH NOTES\n.nf\n{notes}.fi\n{after}")
}
