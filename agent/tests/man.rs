//! The man pages that `examples/man.rs` makes from the definition of the command line.

#[allow(dead_code, reason = "its main is not used here")]
#[path = "../examples/man.rs"]
mod man;

#[test]
fn man_pages_have_every_command_and_option() {
    // roff escapes hyphens.
    let pages: Vec<(String, String)> = man::pages().unwrap();
    let page = |name: &str| {
        let page = pages.iter().find(|(file, _)| *file == format!("{name}.1"));
        page.unwrap_or_else(|| panic!("no page of {name}")).1.replace("\\-", "-").replace("\\*(Aq", "'")
    };
    let root = ktape::cli::command();
    let mut count = 0;
    for command in root.get_subcommands() {
        let page_name = format!("ktape-{}", command.get_name());
        assert!(page("ktape").contains(&page_name), "{page_name} is not in ktape.1");
        let page = page(&page_name);
        for arg in command.get_arguments().chain(root.get_arguments().filter(|arg| arg.is_global_set())) {
            if arg.is_hide_set() {
                continue;
            }
            let help = arg.get_help().unwrap().to_string();
            let flags = arg.get_long().map(|long| format!("--{long}"));
            let flags = flags.into_iter().chain(arg.get_short().map(|short| format!("-{short}")));
            for text in flags.chain([help]) {
                assert!(page.contains(&text), "{page_name} lacks `{text}`:\n{page}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count} arguments");
    assert_eq!(pages.len(), 1 + root.get_subcommands().count());
}

#[test]
fn examples_in_man_pages_keep_their_lines() {
    let pages = man::pages().unwrap();
    let (_, capture) = pages.iter().find(|(file, _)| file == "ktape-capture.1").unwrap();
    let (_, notes) = capture.split_once(".SH NOTES\n.nf\n").unwrap();
    let (notes, _) = notes.split_once("\n.fi\n").unwrap();
    assert!(notes.contains("ktape capture \\-\\-container web"), "{notes}");
}
