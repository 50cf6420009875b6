//! Block requests.

use agent_ebpf::records::block::{Block, Request, origin};

use super::*;

#[test]
fn a_block_request_is_written_with_its_owner_and_times() {
    let mut writer = Writer::open();
    let mut request = Request {
        first_issue: 300,
        last_issue: 400,
        sector: 8,
        done: 4096,
        bytes: 4096,
        ..Request::default()
    };
    request.origin.first = 100;
    request.origin.bits = origin::OWNER_BIO;
    request.origin.owner = 9;
    (request.devno, request.bios, request.issues, request.error) = (4000 << 20 | 1, 1, 2, -5);
    writer.add(&Block { head: head(Kind::Block, 1000, 10), request });
    let end = Block { head: Header { time: 2000, ..head(Kind::Block, 0, 10) }, request };
    writer.rows.block_unfinished(&mut writer.builder, &end);
    let seen = writer.close();
    assert_eq!(seen.numbers(Kind::Block, "dur"), [900, 1900]);
    assert_eq!(seen.numbers(Kind::Block, "queued"), [200, 200]);
    assert_eq!(seen.numbers(Kind::Block, "service"), [600, 1600]);
    assert_eq!(seen.numbers(Kind::Block, "error"), [5, 5]);
    assert_eq!(seen.texts(Kind::Block, "dev"), ["4000:1", "4000:1"]);
    assert_eq!(seen.texts(Kind::Block, "owner_kind"), ["bio", "bio"]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Block).nth(1).unwrap();
    assert_ne!(rows.flags(1) & flags::UNFINISHED, 0);
}

#[test]
fn a_block_request_belongs_to_the_counterpart_of_the_charged_cgroup_or_to_its_submitter() {
    let mut writer = Writer::open();
    writer.rows.cgroups_mut().mkdir(9, 0, b"/docker/a");
    writer.rows.cgroups_mut().add_io(no_hierarchy(), vec![(70, b"/docker/a".to_vec()), (71, b"/x".to_vec())]);
    let (io, both) = (origin::OWNER_IO, origin::OWNER_IO | origin::OWNER_SUBMITTER);
    for (owner, bits) in [(70, io), (70, both), (71, both), (71, io)] {
        let mut request = Request::default();
        (request.origin.owner, request.origin.bits, request.origin.cgroup) = (owner, bits, 7);
        writer.add(&Block { head: Header { cgroup: 7, ..head(Kind::Block, 1000, 10) }, request });
    }
    let seen = writer.close();
    assert_eq!(seen.texts(Kind::Block, "owner_kind"), ["bio", "bio", "submitter", "unknown"]);
    let (view, owner) = (seen.view(), column(Kind::Block, "owner"));
    let rows = rows_of(&view, Kind::Block).map(|(rows, row)| rows.reference(owner, row).unwrap());
    assert_eq!(rows.map(|row| view.cgroup(row).id).collect::<Vec<_>>(), [9, 9, 7, 0]);
}

#[test]
fn only_a_device_that_was_idle_after_the_issue_shows_that_a_completion_was_missed() {
    let mut writer = Writer::open();
    let mut block = Block { head: head(Kind::Block, 2000, 10), request: Request::default() };
    (block.request.devno, block.request.issues, block.request.last_issue) = (4000 << 20 | 1, 1, 400);
    assert_eq!(writer.rows.block_missed(&block), None, "the device was busy");
    let mut missed = |idle_at: u64| {
        writer.rows.block.note_idle(block.request.devno, idle_at);
        writer.rows.block_missed(&block).map(|lost| lost.count)
    };
    assert_eq!(missed(400), None, "issued since");
    assert_eq!(missed(401), Some(1));
}
