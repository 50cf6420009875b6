//! A file through the reading half of ktape: bound to the schema, filtered, printed in every form, and copied. What is printed
//! moves no cursor, and a copy of whatever can be read is sound.

#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use capture_format::CaptureFile;
use jiff::tz::TimeZone;
use ktape_reader::filter::Filter;
use ktape_reader::scan::{Capture, Captures, PrintSink, Query};
use ktape_reader::view::Format;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ktape_fuzz::mutate_capture(data, size, max_size, seed)
});

static FILTER: LazyLock<Filter> = LazyLock::new(|| {
    Filter::parse("evt.type != close and not proc.name = zz and (evt.latency >= 0 or evt.cpu != 99)")
        .unwrap_or_else(|_| Filter::parse("evt.type != close").expect("an expression"))
});

fuzz_target!(|data: &[u8]| {
    let Ok(file) = CaptureFile::from_reader(Cursor::new(data.to_vec())) else { return };
    let captures = Captures::new(vec![Capture::new("fuzzed", file)]);
    let filtered = captures.query(Query::from(FILTER.clone())).expect("no time in it is relative");
    for format in [Format::Text, Format::Json, Format::Csv] {
        let mut out = Vec::new();
        let mut sink = PrintSink::new(format.view(TimeZone::UTC), &mut out, Some(2000), None);
        filtered.send(&mut sink).expect("memory takes all");
        let text = std::str::from_utf8(&out).expect("text");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a control character");
    }
    filtered.count();
    let all = captures.query(Query::default()).expect("nothing in it is relative");
    let mut copy = Vec::new();
    if all.copy(&mut copy).is_ok() && !copy.is_empty() {
        let copy = CaptureFile::from_reader(Cursor::new(copy)).expect("a copy is a capture");
        assert!(copy.damage().is_empty());
        for entry in copy.chunks() {
            copy.read_chunk(entry).and_then(|chunk| chunk.verify()).expect("a copy is sound");
        }
    }
});
