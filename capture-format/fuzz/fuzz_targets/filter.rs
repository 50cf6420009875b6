//! An expression: parsed, resolved, and asked of a real capture.

#![no_main]

use std::sync::LazyLock;

use ktape_reader::scan::{Captures, Query};
use libfuzzer_sys::fuzz_target;

static CAPTURES: LazyLock<Captures> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/kinds-0.1.ktape");
    Captures::open(&[path]).expect("a committed capture")
});

fuzz_target!(|text: &str| {
    let Ok(query) = Query::parse(text) else { return };
    let Ok(search) = CAPTURES.query(query) else { return };
    let mut events = search.events();
    while events.next().is_some() {}
    assert_eq!(events.report().matching, search.count().matching);
});
