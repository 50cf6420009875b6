//! Finds the command lines of `ktape` in README and docs. A test runs each of them.

use std::fs;
use std::path::Path;

/// A command line in the docs.
pub struct Example {
    /// `FILE:LINE`.
    pub place: String,
    /// The command line from `ktape` on, including further pipeline stages as long as they run ktape.
    pub line: String,
    /// The question that it answers: the last line in bold before it, without the asterisks; empty if there is none.
    pub question: String,
}

impl Example {
    /// Whether it loads eBPF programs, which requires root.
    pub fn records(&self) -> bool {
        let mut words = self.line.split_whitespace().skip(1);
        matches!(words.next(), Some("capture" | "watch" | "doctor")) || words.any(|word| word == "--live")
    }

    /// The line with each absolute path before the first quoted word replaced by `path`.
    pub fn with_paths(&self, path: &str) -> String {
        let quoted = self.line.find(['\'', '"']).unwrap_or(self.line.len());
        let (bare, rest) = self.line.split_at(quoted);
        let words = bare.split(' ').map(|word| if word.starts_with('/') { path } else { word });
        words.collect::<Vec<_>>().join(" ") + rest
    }
}

/// All examples in a repository: lines of code blocks in `README.md` and `docs/*.md` that run ktape.
///
/// # Panics
/// If a page cannot be read.
pub fn all(repository: &Path) -> Vec<Example> {
    let mut pages = vec![repository.join("README.md")];
    let docs = fs::read_dir(repository.join("docs")).expect("the directory of docs").flatten();
    pages.extend(docs.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md")));
    pages.sort();
    let mut examples = Vec::new();
    for page in pages {
        let name = page.strip_prefix(repository).unwrap_or(&page).display().to_string();
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        examples.extend(of_page(&name, &text));
    }
    examples
}

/// The examples of one page of Markdown.
fn of_page(name: &str, text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut is_fenced = false;
    let mut question = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if let Some(bold) = line.strip_prefix("**").and_then(|rest| rest.strip_suffix("**")) {
            bold.clone_into(&mut question);
        } else if is_fenced || line.starts_with("    ") {
            let mut whole = line.trim().to_owned();
            while let Some(begun) = whole.strip_suffix('\\') {
                let next = lines.next().map_or("", |(_, line)| line.trim());
                whole = format!("{begun}{next}");
            }
            if let Some(line) = command(&whole) {
                let place = format!("{name}:{}", number + 1);
                examples.push(Example { place, line, question: question.clone() });
            }
        }
    }
    examples
}

/// The ktape command in a shell line.
fn command(line: &str) -> Option<String> {
    let line = line.trim_start_matches("$ ").trim_start_matches("sudo ");
    let starts = ["ktape ", "./target/release/ktape ", "cargo run --release -- "];
    let arguments = starts.iter().find_map(|start| line.strip_prefix(start))?;
    // Cuts off comments. None of the examples has a quoted `#`.
    let arguments = arguments.split(" # ").next().unwrap_or(arguments).trim();
    let mut stages = arguments.split(" | ");
    let mut line = format!("ktape {}", stages.next()?.trim());
    for stage in stages.take_while(|stage| stage.trim_start_matches("sudo ").starts_with("ktape ")) {
        line.push_str(" | ");
        line.push_str(stage.trim_start_matches("sudo "));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_code_blocks_are_examples() {
        let page = "ktape is a tool.\n\n    sudo ktape capture -o /var/x/ -d 1s   # until then\n    ktape replay a.ktape 'x = /y' \\\n        --count | jq .\n\
                    **How many?**\n\n```\n$ cargo run --release -- capture -o - | ktape replay -\nmake\n```\nktape info a.ktape\n";
        let examples = of_page("a.md", page);
        let lines: Vec<&str> = examples.iter().map(|example| example.line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "ktape capture -o /var/x/ -d 1s",
                "ktape replay a.ktape 'x = /y' --count",
                "ktape capture -o - | ktape replay -"
            ]
        );
        assert_eq!(examples[1].place, "a.md:4");
        assert_eq!((examples[1].question.as_str(), examples[2].question.as_str()), ("", "How many?"));
        assert_eq!(examples[0].with_paths("dir/"), "ktape capture -o dir/ -d 1s");
        assert_eq!(examples[1].with_paths("dir/"), lines[1]);
        assert!(examples[0].records() && !examples[1].records());
    }
}
