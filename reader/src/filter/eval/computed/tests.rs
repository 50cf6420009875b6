use std::sync::Arc;

use crate::fields::{Argument, Getter, Value, values};
use crate::filter::{Evaluator, Expr, Filter, prune};
use crate::model::testing::{WALL, header, incomplete, sample};
use crate::model::{Binding, ChunkView, ContainerNames, Context, Event};

/// What no dictionary or summary is used for: each event by itself.
fn passes(expr: &Expr, event: Event<'_>) -> bool {
    let test = match expr {
        Expr::And(parts) => return parts.iter().all(|part| passes(part, event)),
        Expr::Or(parts) => return parts.iter().any(|part| passes(part, event)),
        Expr::Comparison(test) => test,
    };
    if test.computed.is_some() {
        return test.accepts_event(event);
    }
    let scratch = &mut Vec::new();
    let getter = test.compared.getter();
    if !getter.is_of(event.field_owner()) {
        return test.accepts(Value::Missing);
    }
    match getter {
        Getter::Files(get) | Getter::RequestFiles(get) => {
            get(&event.call(), &mut |value| test.finds_file_value(value, scratch)) != test.negated
        }
        Getter::Argument | Getter::RawArgument => {
            let call = event.call();
            let key = values::ArgumentKey::of(&call, &test.compared);
            let argument = key.map_or(Argument::Missing, |key| key.get(&call));
            test.finds_argument(argument, scratch) != test.negated
        }
        _ => test.accepts(values::value(event, &test.compared, scratch)),
    }
}

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn text(&mut self) -> String {
        let field = self.one(&[
            "proc.name",
            "proc.pname",
            "proc.exepath",
            "proc.args",
            "proc.cmdline",
            "thread.name",
            "user.name",
            "container.id",
            "container.full_id",
            "container.chain",
            "container.type",
            "cgroup.path",
            "evt.type",
            "evt.category",
            "evt.res",
            "evt.incomplete",
            "evt.hostname",
            "host.label[dc]",
            "syscall.type",
            "syscall.abi",
            "fd.name",
            "evt.arg.filename",
            "exec.path",
            "exec.args",
            "loss.stage",
        ]);
        match self.below(9) {
            0 => format!("tolower({field})"),
            1 => format!("toupper({field})"),
            2 => format!("basename({field})"),
            3 => format!("b64({field})"),
            4 => format!("concat({field}, '-', {})", self.text()),
            5 => format!("join('/', ({field}, proc.name))"),
            _ => field.to_owned(),
        }
    }

    fn number(&mut self) -> String {
        match self.below(4) {
            0 => format!("len({})", self.text()),
            _ => self
                .one(&[
                    "proc.pid",
                    "proc.ppid",
                    "thread.tid",
                    "user.uid",
                    "cgroup.id",
                    "evt.num",
                    "evt.rawres",
                    "evt.arg.fd",
                    "fd.num",
                    "exit.status",
                    "fork.child_pid",
                    "loss.count",
                ])
                .to_owned(),
        }
    }

    fn literal(&mut self) -> &'static str {
        self.one(&[
            "dd",
            "web",
            "nginx",
            "bash",
            "host",
            "read",
            "close",
            "syscall",
            "exec",
            "/etc/hosts",
            "/etc",
            "/usr/bin/web",
            "aa",
            "docker",
            "-v",
            "a",
            "",
            "SUCCESS",
            "ENOENT",
            "native",
            "fra",
            "DD",
            "ring",
        ])
    }

    fn comparison(&mut self) -> String {
        let list = |random: &mut Self| {
            let values: Vec<String> =
                (0..1 + random.below(3)).map(|_| format!("'{}'", random.literal())).collect();
            format!("({})", values.join(", "))
        };
        match self.below(8) {
            0 => format!("{} {} val({})", self.text(), self.one(&["=", "!=", "contains"]), self.text()),
            1 => format!("{} {} val({})", self.number(), self.one(&["=", "!=", "<", ">="]), self.number()),
            2 => format!("{} {} {}", self.number(), self.one(&["=", "<", ">", "!="]), self.below(5)),
            3 => format!("{} {} {}", self.text(), self.one(&["in", "intersects", "pmatch"]), list(self)),
            4 => {
                let (text, op) = (self.text(), self.one(&["=", "!=", "contains", "startswith", "iglob"]));
                format!("{text} {op} {} {}", self.one(&["oneof", "anyof", "allof"]), list(self))
            }
            5 => format!("{} exists", self.text()),
            6 => format!("{} regex '.*{}.*'", self.text(), self.literal()),
            _ => format!(
                "{} {} '{}'",
                self.text(),
                self.one(&["=", "!=", "icontains", "endswith"]),
                self.literal()
            ),
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 1 } else { 4 }) {
            0 => self.comparison(),
            1 => format!("not ({})", self.expression(depth - 1)),
            2 => format!("({} and {})", self.expression(depth - 1), self.expression(depth - 1)),
            _ => format!("({} or {})", self.expression(depth - 1), self.expression(depth - 1)),
        }
    }
}

#[test]
fn dictionaries_give_the_same_answers_as_single_events() {
    let (mut random, mut compared, mut matched) = (Random(1), 0, 0);
    for chunk in [sample, incomplete] {
        let header = Arc::new(header(1));
        let chunk = chunk(&header).chunk();
        let binding = Binding::new(header);
        let view = ChunkView::open(&chunk, &binding).unwrap();
        let names = ContainerNames::default();
        let context = Context { names: &names, start: WALL };
        for _ in 0..5_000 {
            let text = random.expression(2);
            // Some compare with a value that the field cannot have.
            let Ok(filter) = Filter::parse(&text) else { continue };
            compared += 1;
            let mut evaluator = Evaluator::new(filter.expr(), context, &view);
            for rows in view.tables() {
                let all: Vec<u32> = (0..rows.len() as u32).collect();
                let expected: Vec<u32> = all
                    .iter()
                    .copied()
                    .filter(|row| passes(filter.expr(), Event::new(&context, &view, rows, *row as usize)))
                    .collect();
                let mut selected = all;
                evaluator.retain(rows, &mut selected);
                assert_eq!(selected, expected, "{text}: {}", rows.event.name);
                matched += selected.len();
                let is_ruled_out = !prune::may_match(filter.expr(), &binding, chunk.summary());
                assert!(selected.is_empty() || !is_ruled_out, "{text}");
            }
        }
    }
    assert!(compared > 5_000 && matched > 5_000, "{compared} expressions, {matched} matches");
}
