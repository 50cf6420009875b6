use super::*;

fn words(text: &str) -> Vec<Token> {
    tokens(text).unwrap().into_iter().map(|(token, _)| token).collect()
}

fn word(text: &str) -> Token {
    Token::Word(text.into())
}

#[test]
fn spaces_around_operators_do_not_matter() {
    let expected = vec![word("proc.name"), Token::Symbol("!="), word("dd")];
    assert_eq!(words("proc.name!=dd"), expected);
    assert_eq!(words(" proc.name  !=  dd "), expected);
    assert_eq!(words("a>=1"), [word("a"), Token::Symbol(">="), word("1")]);
}

#[test]
fn values_may_contain_operators() {
    assert_eq!(words("a=k=v"), [word("a"), Token::Symbol("="), word("k=v")]);
    assert_eq!(words("evt.dir=<"), [word("evt.dir"), Token::Symbol("="), word("<")]);
    assert_eq!(words("(a=b)").len(), 5);
}

#[test]
fn keys_in_brackets_belong_to_the_name() {
    assert_eq!(words("container.label[a b=c]=x")[0], word("container.label[a b=c]"));
    // Other words have brackets of their own.
    let list = [Token::Open, word("[a"), Token::Comma, word("runc:[1:CHILD]"), Token::Close];
    assert_eq!(words("([a, runc:[1:CHILD])"), list);
}

#[test]
fn quotes_keep_spaces_and_resolve_escapes() {
    assert_eq!(words(r#"a="x y""#)[2], Token::Quoted(b"x y".to_vec()));
    assert_eq!(words(r#"a='it"s'"#)[2], Token::Quoted(b"it\"s".to_vec()));
    assert_eq!(words(r"a='it\'s'")[2], Token::Quoted(b"it's".to_vec()));
    assert_eq!(words(r#"a="\x1b\n\xff""#)[2], Token::Quoted(b"\x1b\n\xff".to_vec()));
    assert_eq!(tokens("a='x").unwrap_err(), ("missing closing '".into(), 2));
    assert_eq!(tokens(r"a='\q'").unwrap_err().1, 2);
}

#[test]
fn a_stray_operator_is_reported() {
    assert_eq!(tokens("a ! b").unwrap_err(), ("unexpected `!`".into(), 2));
}
