use super::super::parse;

/// The message with the column, or how many comparisons there are.
fn result(text: &str) -> String {
    match parse(text) {
        Ok(_) => "parses".to_owned(),
        Err(error) => error.message,
    }
}

#[test]
fn operators_and_functions_parse() {
    for text in [
        "proc.name iglob NGI*",
        "proc.name regex '[a-z]+'",
        "fd.name pmatch (/var, '/etc/*')",
        "proc.args intersects (-v, x)",
        "proc.name bcontains CAfe",
        "proc.name bstartswith 2f",
        "proc.cmdline contains anyof (a, b)",
        "proc.cmdline contains allof(a, b)",
        "proc.name = oneof (a, b)",
        "proc.name!=anyof (a)",
        "proc.name regex anyof ('a.*', 'b.*')",
        "fd.name bcontains anyof (00, ff)",
        // Only a list makes a modifier of the word.
        "proc.name = anyof and proc.name contains oneof",
        "proc.name in (anyof, val)",
        "proc.name = val",
        "tolower(proc.name) = nginx",
        "tolower( basename( proc.exepath ) ) in (a, b)",
        "not(tolower(proc.name)=a)",
        "len(proc.args) > 3 or len(evt.arg.filename) >= 0x10",
        "b64(proc.args) exists",
        "concat(proc.name, ':', proc.pname, 5) = a:b5",
        "join(',', proc.args) contains 'a,b'",
        "join(\"/\", (proc.name, tolower(proc.pname))) = a/b",
        "proc.name = val(proc.pname)",
        "proc.name!=val(proc.pname)",
        "proc.name contains val(proc.pname) and proc.name iglob val(proc.pname)",
        "tolower(proc.name) = tolower(proc.pname)",
        "basename(proc.exepath) = val(tolower(proc.name))",
        "proc.pid > val(proc.ppid)",
        "evt.latency >= val(evt.reltime)",
        "evt.rawres < val(evt.arg.count)",
        "evt.arg.fd = val(evt.arg[1])",
        "container.memory.limit >= val(container.memory.limit)",
        "container.label[a b] = val(container.label[c])",
        "len(proc.name) = val(proc.pid)",
        "proc.name in () or fd.name pmatch ( )",
    ] {
        assert_eq!(result(text), "parses", "{text}");
    }
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    for (text, message) in [
        (
            "proc.name contain a",
            "unknown operator `contain` (did you mean contains?); the operators are = == != < <= > >= contains icontains bcontains startswith bstartswith endswith glob iglob regex pmatch in intersects has exists (column 11)",
        ),
        (
            "tolwer(proc.name) = a",
            "`tolwer` is neither a function nor a modifier (did you mean tolower?); the functions are tolower toupper b64 basename len concat join, and val on the right; the modifiers are oneof anyof allof (column 1)",
        ),
        (
            "proc.name contains anyoff (a, b)",
            "`anyoff` is neither a function nor a modifier (did you mean anyof?); the functions are tolower toupper b64 basename len concat join, and val on the right; the modifiers are oneof anyof allof (column 20)",
        ),
        (
            "getopt(proc.args, 'a:')[a] = b",
            "getopt() is not supported; the functions are tolower toupper b64 basename len concat join, and val on the right (column 1)",
        ),
        (
            "tolower(proc.nam) = a",
            "unknown field `proc.nam` (did you mean proc.name, proc.aname, proc.pname?); `ktape fields` lists all fields (column 9)",
        ),
        ("tolower(proc.pid) = 5", "tolower() needs text, but proc.pid has type number (column 9)"),
        ("len(evt.latency) = 5", "len() needs text, but evt.latency has type duration (column 5)"),
        (
            "tolower(len(proc.name)) = 5",
            "tolower() needs text, but len(proc.name) has type number (column 9)",
        ),
        ("concat(proc.name, proc.pid) = a", "concat() needs text, but proc.pid has type number (column 19)"),
        ("concat('a', 'b') = ab", "concat() needs a field (column 1)"),
        ("tolower(proc.name, proc.pname) = a", "one argument too many; expected `)` (column 18)"),
        ("tolower(proc.name = a", "expected `)` (column 19)"),
        ("tolower('a') = a", "expected a field (column 9)"),
        (
            "join(proc.args) = a",
            "join() needs a separator in quotes and a list, as in join(',', proc.args) (column 6)",
        ),
        (
            "join(',', proc.name) = a",
            "proc.name is no list; join several: join(',', (proc.name, proc.pname)) (column 11)",
        ),
        (
            "val(proc.name) = a",
            "val() stands on the right of a comparison, as in proc.name = val(proc.pname) (column 1)",
        ),
        (
            "tolower(proc.name)",
            "expected an operator, as in `tolower(proc.name) = value` or `tolower(proc.name) exists` (column 19)",
        ),
        (
            "tolower(proc.name) > 5",
            "`<` and `>` need a number, size, duration or time field, but this field has type text (column 22)",
        ),
        ("len(proc.name) contains 5", "this operator needs text, but this has type number (column 25)"),
        ("len(proc.name) = a", "`a` is not a number (column 18)"),
        ("len(proc.name) = -1", "`-1` is no value of this field, which is never negative (column 18)"),
        (
            "tolower(proc.name) = Nginx",
            "`Nginx` has capital letters, and tolower() has none: write nginx (column 22)",
        ),
        (
            "toupper(proc.name) in (A, b)",
            "`b` has small letters, and toupper() has none: write B (column 27)",
        ),
        (
            "basename(fd.name) != a/b",
            "`a/b` has a `/`, and basename() is what follows the last one (column 22)",
        ),
        (
            "proc.name in val(proc.pname)",
            "`in` needs a list of values; a single field follows `=` (column 14)",
        ),
        ("fd.name pmatch /var", "expected a list: pmatch (a, b, c) (column 16)"),
        ("fd.name pmatch (/var, '')", "a path is missing here; `/` is above all others (column 23)"),
        (
            "proc.name contains (a, b)",
            "expected a value; put values with special characters in quotes, and lists after a modifier: anyof (a, b) (column 20)",
        ),
        (
            "proc.pid < anyof (5, 6)",
            "`anyof` follows an operator of text or equality, not `<` or `>` (column 12)",
        ),
        (
            "proc.name bcontains caf",
            "`caf` is not a sequence of bytes in hexadecimal: bcontains cafe00 (column 21)",
        ),
        (
            "proc.name bstartswith anyof (00, xy)",
            "`xy` is not a sequence of bytes in hexadecimal: bstartswith cafe00 (column 34)",
        ),
        ("proc.name regex 'a(b'", "`a(b` is not a regular expression: unclosed group (column 17)"),
        ("proc.pid regex 5", "this operator needs a text field, but this field has type number (column 16)"),
        (
            "evt.latency > val(proc.pid)",
            "values of types duration and number cannot be compared: evt.latency and val(proc.pid) (column 15)",
        ),
        (
            "proc.name = val(proc.pid)",
            "values of types text and number cannot be compared: proc.name and val(proc.pid) (column 13)",
        ),
        (
            "proc.name > val(proc.pname)",
            "`<` and `>` need a number, size, duration or time, but proc.name has type text (column 13)",
        ),
        (
            "proc.pid > val(proc.pname)",
            "`<` and `>` need a number, size, duration or time, but val(proc.pname) has type text (column 12)",
        ),
        (
            "sample_host.load1 > val(sample_host.running)",
            "values of types number with decimals and number cannot be compared: sample_host.load1 and val(sample_host.running) (column 21)",
        ),
        (
            "proc.name contains val(proc.pid)",
            "this operator needs text, but val(proc.pid) has type number (column 20)",
        ),
        (
            "proc.name regex val(proc.pname)",
            "this operator takes a pattern, which cannot be a field (column 17)",
        ),
    ] {
        assert_eq!(result(text), message, "{text}");
    }
}

#[test]
fn functions_and_patterns_are_limited() {
    let nested = |depth: usize| format!("{}proc.name{} = a", "tolower(".repeat(depth), ")".repeat(depth));
    assert_eq!(result(&nested(17)), "parses");
    assert_eq!(result(&nested(18)), "functions are nested more than 16 deep (column 137)");
    assert!(result(&nested(7000)).starts_with("functions are nested"));
    let patterns = |count: usize| format!("proc.name regex anyof ({})", vec!["a"; count].join(","));
    assert_eq!(result(&patterns(32)), "parses");
    assert_eq!(result(&patterns(33)), "more than 32 regular expressions (column 24)");
    let apart = vec!["proc.name regex a"; 33].join(" or ");
    assert!(result(&apart).starts_with("more than 32 regular expressions"));
}
