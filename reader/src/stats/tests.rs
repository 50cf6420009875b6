use std::io::Cursor;

use capture_format::CaptureFile;

use super::*;
use crate::model::testing::{TestChunk, call, file, header, id};
use crate::scan::{Capture, Captures, Query};

fn golden() -> Captures {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    Captures::open(&[format!("{root}/calls-0.1.ktape"), format!("{root}/kinds-0.1.ktape")]).unwrap()
}

fn question(by: &[&str], columns: &[&str]) -> Question {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Question { by: own(by), columns: own(columns), ..Question::default() }
}

fn plan(by: &[&str], columns: &[&str]) -> Plan {
    Plan::new(&question(by, columns)).unwrap()
}

fn answer(question: &Question, query: &str) -> Answer {
    let captures = golden();
    let query = if query.is_empty() { Query::default() } else { Query::parse(query).unwrap() };
    captures.query(query).unwrap().answer(&Plan::new(question).unwrap()).0
}

fn error(by: &[&str], columns: &[&str]) -> String {
    Plan::new(&question(by, columns)).unwrap_err().to_string()
}

/// Every kind of aggregate.
const COLUMNS: [&str; 12] = [
    "count",
    "count(fd.name)",
    "sum(evt.latency)",
    "avg(evt.latency)",
    "min(evt.latency)",
    "max(evt.latency)",
    "stddev(evt.latency)",
    "p90(evt.latency)",
    "distinct(fd.name)",
    "first(fd.name)",
    "last(evt.rawres)",
    "share(evt.latency if evt.failed = true)",
];

/// Cells are equal; sums of real numbers may differ in their last digits.
fn assert_same(a: &Answer, b: &Answer) {
    assert_eq!(a.rows.len(), b.rows.len());
    let check = |(a, b): (&Cell, &Cell)| match (a, b) {
        (Cell::Real(a), Cell::Real(b)) => assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{a} {b}"),
        (a, b) => assert_eq!(a, b),
    };
    for (a, b) in a.rows.iter().zip(&b.rows) {
        assert_eq!(a.key, b.key);
        a.cells.iter().zip(&b.cells).for_each(check);
    }
    a.total.iter().zip(&b.total).for_each(check);
}

/// One result for each chunk.
fn parts<'p>(captures: &Captures, plan: &'p Plan) -> Vec<Partial<'p>> {
    let mut parts = Vec::new();
    captures.query(Query::default()).unwrap().for_each_chunk(|chunk| {
        let mut part = Partial::new(plan, BUDGET);
        part.fold(chunk);
        parts.push(part);
    });
    parts
}

#[test]
fn merging_in_any_order_equals_the_whole() {
    let captures = golden();
    for by in [&["proc.name", "evt.type"][..], &["fd.name"], &[]] {
        let plan = plan(by, &COLUMNS);
        let whole = captures.query(Query::default()).unwrap().answer(&plan).0;
        let range = captures.query(Query::default()).unwrap().range();
        assert!(parts(&captures, &plan).len() >= 2);
        for seed in 0..8u64 {
            let mut parts = parts(&captures, &plan);
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            // Merges two at a time, as in a random tree.
            while parts.len() > 1 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let from = parts.swap_remove((random >> 33) as usize % parts.len());
                let to = (random >> 13) as usize % parts.len();
                parts[to].merge(&from);
            }
            assert_same(&Answer::new(&plan, &mut parts.pop().unwrap(), range), &whole);
        }
    }
}

#[test]
fn groups_that_do_not_fit_are_added_up() {
    let captures = golden();
    let plan = plan(&["fd.name", "evt.latency"], &["count", "sum(evt.latency)"]);
    let search = captures.query(Query::default()).unwrap();
    let whole = search.answer(&plan).0;
    assert!(whole.other.is_none() && whole.undercount == 0.0);
    // Memory is checked after each chunk here.
    let mut all = Partial::new(&plan, 4 << 10);
    parts(&captures, &plan).iter().for_each(|part| all.merge(part));
    let bounded = Answer::new(&plan, &mut all, search.range());
    assert!(bounded.rows.len() < whole.rows.len() / 2, "{} of {}", bounded.rows.len(), whole.rows.len());
    assert_eq!(bounded.total, whole.total);
    let other = bounded.other.as_ref().unwrap();
    let count = |cells: &[Cell]| cells[0].number().unwrap();
    let sum: f64 = bounded.rows.iter().map(|row| count(&row.cells)).sum::<f64>() + count(other);
    assert_eq!(sum, count(&whole.total));
    // The largest group is among them, and is too low by no more than is said.
    let (first, own) = (&whole.rows[0], &bounded.rows[0]);
    assert_eq!(first.key, own.key);
    let missing = count(&first.cells) - count(&own.cells);
    assert!(missing >= 0.0 && missing <= bounded.undercount, "{missing} {}", bounded.undercount);
}

/// Chunks of calls by three processes, of which the second makes most calls and the third only one.
fn many_calls() -> Captures {
    let chunks = (0..8u64).map(|at| {
        let mut chunk = TestChunk::new(&header(1));
        let cgroup = chunk.cgroup(7, "/docker/x", &[id('d')]);
        let tasks =
            [(10, "few"), (11, "many"), (12, "one")].map(|(pid, name)| chunk.task(pid, pid, name, cgroup));
        for number in 0..600 {
            let task = tasks[if number % 3 == 0 { 0 } else { 1 }];
            chunk.call(at * 1_000_000 + number, task, &call("getppid", &[], 1));
        }
        if at == 3 {
            chunk.call(at * 1_000_000 + 700, tasks[2], &call("getppid", &[], 1));
        }
        chunk
    });
    let file = CaptureFile::from_reader(Cursor::new(file(&header(1), chunks.collect(), &[]))).unwrap();
    Captures::new(vec![Capture::new("test", file)])
}

#[test]
fn parents_in_a_tree_keep_what_does_not_fit_below_them() {
    let captures = many_calls();
    let search = captures.query(Query::default()).unwrap();
    let count = |row: &AnswerRow| row.cells[0].number().unwrap();
    for (path, budget) in [("proc.name/evt.num", 32 << 10), ("evt.category/proc.name/evt.num", 32 << 10)] {
        let plan = plan(&[path], &["count", "sum(evt.latency)"]);
        let whole = search.answer(&plan).0;
        let mut all = Partial::new(&plan, budget);
        parts(&captures, &plan).iter().for_each(|part| all.merge(part));
        let bounded = Answer::new(&plan, &mut all, search.range());
        assert!(bounded.is_bounded && bounded.rows.len() < whole.rows.len() / 2);
        assert_eq!(bounded.total, whole.total);
        // Nothing is missing from any parent, and each is the sum of the rows directly below it.
        let inner = |answer: &Answer| -> Vec<AnswerRow> {
            let is_inner =
                |row: &&AnswerRow| row.key.len() < plan.keys().len() && !row.key.contains(&Datum::Other);
            answer.rows.iter().filter(is_inner).cloned().collect()
        };
        assert_eq!(inner(&bounded), inner(&whole));
        let mut others = 0;
        for (at, row) in bounded.rows.iter().enumerate() {
            others += usize::from(row.key.last() == Some(&Datum::Other));
            let below = bounded.rows[at + 1..].iter().take_while(|other| other.key.len() > row.key.len());
            let direct: Vec<&AnswerRow> =
                below.filter(|other| other.key.len() == row.key.len() + 1).collect();
            if let Some(last) = direct.last() {
                assert_eq!(direct.iter().map(|row| count(row)).sum::<f64>(), count(row));
                assert!(direct.iter().all(|row| row.key.last() != Some(&Datum::Other) || row == last));
            }
        }
        assert!(others > 0);
        assert_eq!(plan.kept_by(), ("count".to_owned(), Unit::PLAIN));
    }
}

#[test]
fn parents_that_do_not_fit_become_part_of_theirs() {
    let captures = many_calls();
    let plan = plan(&["proc.name/evt.num/thread.tid"], &["count"]);
    let search = captures.query(Query::default()).unwrap();
    let whole = search.answer(&plan).0;
    let mut all = Partial::new(&plan, 64 << 10);
    parts(&captures, &plan).iter().for_each(|part| all.merge(part));
    assert!(all.groups.len() < whole.rows.len() / 2, "{} groups", all.groups.len());
    let bounded = Answer::new(&plan, &mut all, search.range());
    let top = |answer: &Answer| -> Vec<AnswerRow> {
        answer.rows.iter().filter(|row| row.key.len() == 1).cloned().collect()
    };
    for row in top(&bounded) {
        let count = |row: &AnswerRow| row.cells[0].number().unwrap();
        let of_whole = top(&whole).into_iter().find(|other| other.key == row.key).unwrap();
        let missing = count(&of_whole) - count(&row);
        assert!((0.0..=bounded.undercount).contains(&missing), "{row:?}: {missing}, {}", bounded.undercount);
    }
}

#[test]
fn without_groups_there_is_one_row() {
    let none = answer(
        &question(&[], &["count", "sum(evt.buflen)", "avg(evt.latency)", "first(proc.name)"]),
        "proc.name = none",
    );
    assert_eq!(none.rows.len(), 1);
    assert_eq!(none.rows[0].cells, [Cell::Number(0), Cell::Number(0), Cell::Missing, Cell::Missing]);
    assert!(answer(&question(&["proc.name"], &["count"]), "proc.name = none").rows.is_empty());
}

#[test]
fn conditions_arithmetic_and_titles() {
    let columns = ["ALL = count", "count(evt.failed = true)", "count(if evt.failed = true) / ALL_ = count"];
    assert!(Plan::new(&question(&[], &columns)).is_err());
    let columns = [
        "ALL = count",
        "BAD = count(evt.failed = true)",
        "100 * count(if evt.failed = true) / count",
        "count - 1 - 2 * (3 - 1)",
    ];
    let all = answer(&question(&[], &columns), "evt.category = syscall");
    let cells = &all.rows[0].cells;
    let number = |at: usize| cells[at].number().unwrap();
    assert!(number(1) > 0.0 && number(1) < number(0));
    assert_eq!(number(2), 100.0 * number(1) / number(0));
    assert_eq!(cells[3], Cell::Number(number(0) as i128 - 5));
    let parsed = plan(&[], &columns);
    let titles: Vec<&str> = parsed.columns().iter().map(|column| column.title.as_str()).collect();
    assert_eq!(titles[..2], ["ALL", "BAD"]);
    // The same numbers are gathered once: all events, and those that failed.
    assert_eq!((parsed.gatherings.len(), parsed.conditions.len()), (2, 1));
}

#[test]
fn rates_and_shares_of_conditions_and_advice() {
    let columns = ["share(evt.failed = true)", "count(evt.failed = true)"];
    let rows = answer(&question(&["proc.name"], &columns), "").rows;
    let sum = |at: usize| rows.iter().map(|row| row.cells[at].number().unwrap()).sum::<f64>();
    let all = sum(1);
    assert!(all > 0.0 && (sum(0) - 1.0).abs() < 1e-9);
    assert!(rows.iter().all(|row| row.cells[0].number() == row.cells[1].number().map(|count| count / all)));
    assert!(
        plan(&[], &["rate(evt.failed = true)", "count"]).has_rates() && !plan(&[], &["count"]).has_rates()
    );
    let advised = plan(&[], &["count(evt.failed)"]);
    let [hint] = advised.hints() else { panic!("{:?}", advised.hints()) };
    assert!(hint.ends_with("those of which it is true: count(evt.failed = true)"), "{hint}");
    assert!(plan(&[], &["count(evt.failed = true)", "count(evt.latency)"]).hints().is_empty());
}

#[test]
fn negative_numbers_have_no_power_of_two() {
    let rows = answer(
        &question(&["log2(evt.rawres)"], &["count", "min(evt.rawres)", "max(evt.rawres)"]),
        "evt.rawres exists",
    )
    .rows;
    let number = |row: &AnswerRow, at: usize| row.cells[at].number().unwrap();
    let of = |key: Datum| rows.iter().find(|row| row.key == [key.clone()]).unwrap();
    assert!(number(of(Datum::Missing), 2) < 0.0);
    assert_eq!((number(of(Datum::Number(0)), 1), number(of(Datum::Number(0)), 2)), (0.0, 0.0));
}

#[test]
fn units_follow_from_fields_and_arithmetic() {
    let unit = |text: &str| plan(&[], &[text]).columns()[0].unit();
    assert_eq!(unit("count"), Unit::PLAIN);
    assert_eq!(unit("rate"), Unit::PLAIN.per_second());
    assert_eq!(unit("sum(evt.buflen)"), Unit::of(Base::Size));
    assert_eq!(unit("rate(evt.buflen)"), Unit::of(Base::Size).per_second());
    assert_eq!(unit("p99(evt.latency)"), Unit::of(Base::Duration));
    assert_eq!(unit("sum(evt.latency) / count"), Unit::of(Base::Duration));
    assert_eq!(unit("sum(evt.latency) / sum(switch.ran)"), Unit::PLAIN);
    assert_eq!(unit("max(evt.time) - min(evt.time)"), Unit::of(Base::Duration));
    assert_eq!(unit("share"), Unit::of(Base::Share));
    assert_eq!(unit("stddev(evt.time)"), Unit::of(Base::Duration));
    assert_eq!(unit("distinct(evt.latency)"), Unit::PLAIN);
    assert_eq!(unit("2 * sum(evt.buflen)"), Unit::of(Base::Size));
}

#[test]
fn rates_are_per_second_of_the_range_or_step() {
    let captures = golden();
    let search = captures.query(Query::default()).unwrap();
    let (from, to) = search.range().unwrap();
    let whole = search.answer(&plan(&[], &["count", "rate"])).0;
    let number = |cells: &[Cell], at: usize| cells[at].number().unwrap();
    let seconds = (to - from) as f64 / 1e9;
    let cells = &whole.rows[0].cells;
    assert!((number(cells, 1) - number(cells, 0) / seconds).abs() < 1e-9);
    // A step that lies within the range has its own width, and the steps are in order.
    let stepped = Plan::new(&Question { per: Some(1_000_000), ..question(&[], &["count", "rate"]) }).unwrap();
    let steps = search.answer(&stepped).0;
    let inside = |row: &&AnswerRow| matches!(row.key[0], Datum::Number(at) if at >= from.into() && at + 1_000_000 <= to.into());
    let mut seen = 0;
    for row in steps.rows.iter().filter(inside) {
        assert!((number(&row.cells, 1) - number(&row.cells, 0) * 1000.0).abs() < 1e-6);
        seen += 1;
    }
    assert!(seen > 0 && steps.rows.is_sorted_by(|a, b| a.key < b.key));
    let sum: f64 = steps.rows.iter().map(|row| number(&row.cells, 0)).sum();
    assert_eq!(sum, number(cells, 0));
}

#[test]
fn order_and_limits() {
    let by = |sort: &[&str], top| {
        let sort = sort.iter().map(|text| (*text).to_owned()).collect();
        answer(&Question { sort, top, ..question(&["evt.type"], &["N = count", "max(evt.latency)"]) }, "")
    };
    let all = by(&[], None);
    let number = |row: &AnswerRow, at: usize| row.cells[at].number();
    assert!(all.rows.is_sorted_by(|a, b| number(a, 0) >= number(b, 0)));
    let three = by(&[], Some(3));
    assert_eq!((three.rows.len(), three.more), (3, all.rows.len() - 3));
    assert_eq!(three.rows, all.rows[..3]);
    assert_eq!(three.total, all.total);
    let ascending = by(&["N:asc"], None);
    assert!(ascending.rows.is_sorted_by(|a, b| number(a, 0) <= number(b, 0)));
    assert!(by(&["evt.type"], None).rows.is_sorted_by(|a, b| a.key <= b.key));
    // Missing values come last, whatever the direction; a column is found by its expression, too.
    for sort in ["max(evt.latency)", "max(evt.latency):asc"] {
        let rows = by(&[sort], None).rows;
        let first_missing = rows.iter().position(|row| number(row, 1).is_none());
        assert!(rows[first_missing.unwrap_or(rows.len())..].iter().all(|row| number(row, 1).is_none()));
    }
}

#[test]
fn having_selects_groups() {
    let having =
        |text: &str| Question { having: Some(text.to_owned()), ..question(&["evt.type"], &["N = count"]) };
    let all = answer(&question(&["evt.type"], &["count"]), "");
    let kept = answer(&having("N >= 20 and max(evt.latency) > 1us or N = 1"), "");
    assert!(!kept.rows.is_empty() && kept.rows.len() < all.rows.len());
    assert!(kept.rows.iter().all(|row| matches!(row.cells[0], Cell::Number(1 | 20..))));
    // Words and operators within brackets and quotes belong to conditions.
    let conditions =
        "count(evt.failed = true and proc.name != \"a or b\") >= 1 or count(evt.type = \"x if y\") > 5";
    assert!(!answer(&having(conditions), "").rows.is_empty());
    let message = |text: &str| Plan::new(&having(text)).unwrap_err().to_string();
    assert!(message("count").starts_with("`count` is not a comparison of columns"));
}

#[test]
fn wrong_questions_are_explained() {
    assert_eq!(
        error(&[], &["sum(fd.name)"]),
        "`sum(fd.name)`: sum needs a number, and fd.name is of type text; use count, distinct, first or last"
    );
    assert!(
        error(&[], &["cuont"]).starts_with("unknown function `cuont` (did you mean count?)"),
        "{}",
        error(&[], &["cuont"])
    );
    assert_eq!(
        error(&[], &["evt.latency"]),
        "`evt.latency` is not a column: `evt.latency` is a field; use it with a function: sum(evt.latency), \
         max(evt.latency), last(evt.latency)"
    );
    assert_eq!(error(&[], &["sum"]), "`sum` is not a column: sum needs a field: sum(evt.latency)");
    assert_eq!(
        error(&[], &["count +"]),
        "`count +` is not a column: a function or a number is missing at the end"
    );
    assert_eq!(error(&[], &["(count"]), "`(count` is not a column: a closing bracket is missing");
    assert_eq!(error(&[], &["count count"]), "`count count` is not a column: `count` was not expected");
    assert!(error(&[], &["sum(evt.latency if evt.tpye = read)"]).starts_with("`evt.tpye = read`: "));
    assert!(error(&[], &["p101(evt.latency)"]).starts_with("unknown function `p101`"));
    assert!(error(&["proc.nmae"], &[]).starts_with("unknown field `proc.nmae`"));
    assert_eq!(
        error(&[], &["rate(evt.time)"]),
        "`rate(evt.time)`: times cannot be added up; use min, max, first or last"
    );
    assert!(
        error(&[], &["COUNT"]).starts_with("unknown function `COUNT` (did you mean count"),
        "{}",
        error(&[], &["COUNT"])
    );
    assert!(error(&[], &["count(evt.failed = tru)"]).starts_with("`evt.failed = tru`: "));
    assert_eq!(
        error(&["proc.name"], &["count", "A = rate", "A = share"]),
        "there are two columns `A`; give one of them another title: TITLE = EXPRESSION"
    );
    assert!(error(&["proc.name"], &["proc.name = count"]).starts_with("there are two columns `proc.name`"));
    assert_eq!(
        error(&["container.label[app"], &[]),
        "`container.label` has no closing bracket after its argument"
    );
    let deep = format!("{}count{}", "(".repeat(100), ")".repeat(100));
    assert_eq!(error(&[], &[&deep]), format!("`{deep}` is not a column: it has too many brackets"));
    let sort = Question { sort: vec!["size".to_owned()], ..question(&["proc.name"], &["count"]) };
    assert_eq!(
        Plan::new(&sort).unwrap_err().to_string(),
        "cannot sort by `size`: it is neither a column nor a key; there are proc.name, count"
    );
}

#[test]
fn a_path_of_keys_is_a_tree_with_subtotals() {
    let count = |row: &AnswerRow| row.cells[0].number().unwrap();
    let tree = answer(&question(&["evt.category/evt.type/proc.name"], &["count"]), "");
    let flat = answer(&question(&["evt.category", "evt.type", "proc.name"], &["count"]), "");
    let leaves: Vec<&AnswerRow> = tree.rows.iter().filter(|row| row.key.len() == 3).collect();
    assert_eq!(leaves.len(), flat.rows.len());
    assert!(flat.rows.iter().all(|row| leaves.contains(&row)));
    // Each row is the sum of those directly below it, which follow it, greatest first.
    for (at, row) in tree.rows.iter().enumerate().filter(|(_, row)| row.key.len() < 3) {
        let below = tree.rows[at + 1..].iter().take_while(|other| other.key.len() > row.key.len());
        let direct: Vec<&AnswerRow> = below.filter(|other| other.key.len() == row.key.len() + 1).collect();
        assert!(direct.iter().all(|other| other.key.starts_with(&row.key)));
        assert_eq!(direct.iter().map(|other| count(other)).sum::<f64>(), count(row));
        assert!(direct.is_sorted_by(|a, b| count(a) >= count(b)));
    }
    // The limit is one for what is below each row, and `having` is about the last key.
    let top = Question { top: Some(1), ..question(&["evt.category/evt.type"], &["count"]) };
    let rows = answer(&top, "").rows;
    assert_eq!(rows.iter().map(|row| row.key.len()).collect::<Vec<_>>(), [1, 2]);
    let having =
        Question { having: Some("count = 1".to_owned()), ..question(&["evt.category/evt.type"], &["count"]) };
    let rows = answer(&having, "").rows;
    assert!(!rows.is_empty() && rows.iter().filter(|row| row.key.len() == 2).all(|row| count(row) == 1.0));
    assert!(rows.windows(2).all(|pair| pair[0].key.len() == 2 || pair[1].key.len() == 2));
    assert_eq!(
        error(&["proc.name/evt.type", "evt.cpu"], &[]),
        "`proc.name/evt.type` is a tree, which cannot be combined with other groups or time steps"
    );
}

#[test]
fn short_names_stand_for_labels() {
    let names = [("env".to_owned(), "host.label[dc]".to_owned())].into();
    let plan =
        Plan::new(&Question { names, ..question(&["env/compose.project/k8s.app"], &["count"]) }).unwrap();
    let keys: Vec<&str> = plan.keys().iter().map(|key| key.name.as_str()).collect();
    assert_eq!(keys, ["env", "compose.project", "k8s.app"]);
    assert!(Key::short_names().all(|(name, field)| Key::parse(field).is_ok() && Key::parse(name).is_err()));
    // A slash within brackets belongs to the key.
    let plan = Plan::new(&question(&["container.label[a/b]"], &[])).unwrap();
    assert!(!plan.is_tree() && plan.keys().len() == 1);
}

#[test]
fn series_have_the_steps_of_each_group() {
    let stepped = |top| {
        let question = Question { per: Some(1_000_000), top, ..question(&["evt.type"], &["count", "rate"]) };
        answer(&question, "")
    };
    let all = stepped(None);
    let count = |cells: &[Cell]| cells[0].number().unwrap();
    let whole = answer(&question(&["evt.type"], &["count", "rate"]), "");
    assert_eq!(
        all.series.iter().map(|series| &series.whole).collect::<Vec<_>>(),
        whole.rows.iter().collect::<Vec<_>>()
    );
    for series in &all.series {
        assert!(series.steps.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(
            series.steps.iter().map(|(_, cells)| count(cells)).sum::<f64>(),
            count(&series.whole.cells)
        );
    }
    assert_eq!(all.series.iter().map(|series| series.steps.len()).sum::<usize>(), all.rows.len());
    let two = stepped(Some(2));
    assert_eq!(two.series, all.series[..2]);
    assert_eq!(two.more, all.series.len() - 2);
}

#[test]
fn fields_to_group_by_can_have_a_title() {
    let plan = plan(&["program = proc.name", "syscall.type"], &["count"]);
    assert_eq!(plan.keys()[0].name, "program");
    assert_eq!(plan.keys()[0].field, "proc.name");
    let sorted =
        Question { sort: vec!["program".to_owned()], ..question(&["program = proc.name"], &["count"]) };
    assert!(Plan::new(&sorted).is_ok());
    assert!(error(&["x = proc.name", "x = thread.tid"], &["count"]).contains("two columns `x`"));
}
