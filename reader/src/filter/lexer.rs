//! Splits a filter expression into tokens.

use crate::text::escape;

/// A token of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `=`, `==`, `!=`, `<`, `<=`, `>`, `>=`
    Symbol(&'static str),
    /// A name, a keyword or an unquoted value.
    Word(String),
    /// A value in quotes, with escapes resolved.
    Quoted(Vec<u8>),
}

/// A token and the byte at which it starts.
pub type Spanned = (Token, usize);

const SYMBOLS: [&str; 7] = ["==", "!=", "<=", ">=", "=", "<", ">"];

/// Splits an expression into tokens.
///
/// # Errors
/// A message and the byte position of the error.
pub fn tokens(text: &str) -> Result<Vec<Spanned>, (String, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        // A value follows an operator; unlike names, values may contain operator characters.
        let value = matches!(out.last(), Some((Token::Symbol(_), _)));
        let start = at;
        let token = match c {
            '(' | ')' | ',' => {
                at += 1;
                match c {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Comma,
                }
            }
            '"' | '\'' => {
                let (bytes, length) = quoted(&text[at..], c).map_err(|message| (message, start))?;
                at += length;
                Token::Quoted(bytes)
            }
            _ => {
                if let Some(symbol) = SYMBOLS.iter().find(|s| text[at..].starts_with(**s))
                    && !value
                {
                    at += symbol.len();
                    Token::Symbol(symbol)
                } else {
                    at += word_length(&text[at..], value);
                    if at == start {
                        return Err((format!("unexpected `{c}`"), start));
                    }
                    Token::Word(text[start..at].to_owned())
                }
            }
        };
        out.push((token, start));
    }
    Ok(out)
}

/// The length of the word at the start, which ends at a space, a round bracket, a comma or (in a name) an operator.
fn word_length(text: &str, value: bool) -> usize {
    let mut in_key = false;
    for (i, c) in text.char_indices() {
        match c {
            '[' if !value && is_name(&text[..i]) => in_key = true,
            ']' => in_key = false,
            _ if in_key => {}
            '(' | ')' | ',' => return i,
            '=' | '!' | '<' | '>' if !value => return i,
            _ if c.is_whitespace() => return i,
            _ => {}
        }
    }
    text.len()
}

/// Whether a key in brackets may follow: the name of a field has a dot, and values such as `[kworker` have brackets too.
fn is_name(word: &str) -> bool {
    word.contains('.') && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
}

/// The value between quotes at the start of `text`, and its length with both quotes.
fn quoted(text: &str, quote: char) -> Result<(Vec<u8>, usize), String> {
    let mut inner = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, '\'')) => inner.push('\''),
                Some((_, next)) => inner.extend(['\\', next]),
                None => break,
            },
            _ if c == quote => {
                return match escape::unescape(&inner) {
                    Some(bytes) => Ok((bytes, i + 1)),
                    None => {
                        Err("unknown escape in quotes; known are \\\\ \\\" \\' \\n \\t \\r \\e \\xNN".into())
                    }
                };
            }
            _ => inner.push(c),
        }
    }
    Err(format!("missing closing {quote}"))
}

#[cfg(test)]
mod tests;
