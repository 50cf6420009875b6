//! An expression: parsed, resolved, and asked of a real capture.

#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use capture_format::CaptureFile;
use jiff::tz::TimeZone;
use ktape_reader::model::Context;
use ktape_reader::filter::Filter;
use ktape_reader::model::{Binding, Names};
use ktape_reader::scan::{Capture, Query, replay_files};
use ktape_reader::text::time::Span;
use libfuzzer_sys::fuzz_target;

static CAPTURES: LazyLock<[Capture; 1]> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/kinds-0.1.ktape");
    let file = CaptureFile::open(path).expect("a committed capture");
    let bindings = file.segments().iter().map(|s| Arc::new(Binding::new(Arc::clone(&s.header)))).collect();
    [Capture { path: PathBuf::from(path), file, bindings }]
});

fuzz_target!(|text: &str| {
    let Ok(mut filter) = Filter::parse(text) else { return };
    if filter.resolve(&Span { start: 0, end: Some(1 << 40), zone: TimeZone::UTC }).is_err() {
        return;
    }
    let names = Names::default();
    let context = Context { names: &names, start: 0 };
    let question = Query { filter: Some(filter), ..Query::default() };
    replay_files(&CAPTURES[..], &question, &context, None).expect("nothing is written");
});
