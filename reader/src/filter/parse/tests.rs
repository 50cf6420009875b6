use super::*;

/// The tree as text: comparisons as `field`, negated ones as `!field`.
fn shape(text: &str) -> String {
    fn write(expr: &Expr, out: &mut String) {
        let (mark, parts) = match expr {
            Expr::And(parts) => ('&', parts),
            Expr::Or(parts) => ('|', parts),
            Expr::Comparison(test) => {
                let values: Vec<_> =
                    test.literals.iter().map(|l| String::from_utf8_lossy(&l.bytes).into_owned()).collect();
                out.push_str(&format!("{}{}", if test.negated { "!" } else { "" }, values.join(",")));
                return;
            }
        };
        out.push('(');
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                out.push(mark);
            }
            write(part, out);
        }
        out.push(')');
    }
    let mut out = String::new();
    write(&parse(text).unwrap().expr, &mut out);
    out
}

fn error(text: &str) -> (usize, String) {
    let error = parse(text).unwrap_err();
    (error.column, error.message)
}

#[test]
fn and_binds_tighter_than_or() {
    assert_eq!(shape("proc.name=a or proc.name=b and proc.name=c"), "(a|(b&c))");
    assert_eq!(shape("(proc.name=a or proc.name=b) and proc.name=c"), "((a|b)&c)");
}

#[test]
fn not_is_pushed_to_the_comparisons() {
    assert_eq!(shape("not proc.name=a"), "!a");
    assert_eq!(shape("not not proc.name=a"), "a");
    assert_eq!(shape("not proc.name!=a"), "a");
    assert_eq!(shape("not (proc.name=a and not proc.name=b or proc.name=c)"), "((!a|b)&!c)");
    assert_eq!(shape("not proc.name=a and proc.name=b"), "(!a&b)");
}

#[test]
fn lists_quotes_and_exists() {
    assert_eq!(shape("evt.type in (read, 'write', openat)"), "read,write,openat");
    assert_eq!(shape("proc.name = \"a b\""), "a b");
    assert_eq!(shape("not container.name exists"), "!");
}

#[test]
fn errors_point_at_the_column() {
    for (text, column, part) in [
        ("proc.nam=dd", 1, "did you mean"),
        ("evt.type=read and", 18, "expected a field"),
        ("proc.name=", 11, "expected a value"),
        ("proc.name dd", 11, "unknown operator `dd`"),
        ("evt.failed and proc.name=a", 12, "evt.failed = true"),
        ("(proc.name=a", 1, "without a matching `)`"),
        ("proc.name=a)", 12, "without a matching `(`"),
        ("proc.name=a proc.name=b", 13, "expected `and`"),
        ("proc.pid=x", 10, "not a number"),
        ("evt.type in read", 13, "expected a list"),
        ("evt.type in (read", 18, "in this list"),
        ("evt.res in (EPERM, ENOENTT)", 20, "did you mean ENOENT?"),
        ("evt.res = EN*", 11, "for a pattern use: evt.res glob 'EN*'"),
        ("proc.pid = -", 12, "for events without a value use: not proc.pid exists"),
        ("proc.name='x", 11, "closing"),
        ("", 1, "expression ends here"),
        ("= 3", 1, "expected a field"),
        ("proc.name='ü' and foo=1", 19, "unknown field"),
    ] {
        let (at, message) = error(text);
        assert_eq!(at, column, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
    let shown = parse("evt.type=read and foo=1").unwrap_err().to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[1], "  evt.type=read and foo=1");
    assert_eq!(lines[2], "                    ^");
}

#[test]
fn depth_is_limited() {
    let nested = |n: usize| format!("{}proc.pid=1{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&nested(100)).is_ok());
    assert!(parse(&nested(101)).unwrap_err().message.contains("more than 100 deep"));
    assert!(parse(&format!("{}proc.pid=1", "not ".repeat(50_000 / 4))).is_err());
}
