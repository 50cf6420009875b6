//! Finds the modules that a source file refers to: every `crate::x` and `super::x` in imports, expressions, types and macros.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::SourceFile;

/// A reference from one module to another.
#[derive(PartialEq)]
pub(super) struct Import {
    /// `FILE:LINE`.
    pub(super) place: String,
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
}

/// All references of a file to other modules, except those in its unit tests.
pub(super) fn find(source: &SourceFile, modules: &BTreeSet<&[String]>) -> Result<Vec<Import>> {
    let tokens: TokenStream =
        source.text.parse().map_err(|error| anyhow!("{}: cannot be parsed: {error}", source.shown))?;
    let mut finder = ImportFinder { source, modules, imports: Vec::new() };
    finder.walk(tokens, &source.module);
    Ok(finder.imports)
}

struct ImportFinder<'a> {
    source: &'a SourceFile,
    modules: &'a BTreeSet<&'a [String]>,
    imports: Vec<Import>,
}

impl ImportFinder<'_> {
    /// Walks the tokens of `module`: the file's module or one inside the file.
    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let after_path = at > 0 && is_punct(&tokens[at - 1], ':');
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "mod" => {
                    let (name, body) = (tokens.get(at + 1), tokens.get(at + 2));
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) = (name, body) {
                        if !is_test(&tokens[..at]) {
                            let inner = [module, &[name.to_string()]].concat();
                            self.walk(body.stream(), &inner);
                        }
                        at += 3;
                        continue;
                    }
                }
                TokenTree::Ident(ident) if ident == "crate" && !after_path => {
                    self.path(&tokens[at + 1..], Vec::new(), module);
                }
                TokenTree::Ident(ident) if ident == "super" && !after_path => {
                    let parent = module[..module.len().saturating_sub(1)].to_vec();
                    self.path(&tokens[at + 1..], parent, module);
                }
                TokenTree::Group(group) => self.walk(group.stream(), module),
                _ => {}
            }
            at += 1;
        }
    }

    /// Follows a path after `crate` or `super`, relative to module `base`: `::a::b`, `::super::a`, `::{a, b::c}`.
    fn path(&mut self, tokens: &[TokenTree], mut base: Vec<String>, module: &[String]) {
        let mut tokens = tokens;
        while let [first, second, rest @ ..] = tokens
            && is_punct(first, ':')
            && is_punct(second, ':')
        {
            match rest.first() {
                Some(TokenTree::Ident(ident)) if ident == "super" => {
                    base.pop();
                }
                Some(TokenTree::Ident(ident)) => {
                    base.push(ident.to_string());
                    if !self.modules.contains(base.as_slice()) {
                        // An item of the module: what follows does not matter.
                        return self.add(ident.span().start().line, &base, module);
                    }
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for part in inner.split(|token| is_punct(token, ',')) {
                        self.part(part, base.clone(), module);
                    }
                    return;
                }
                Some(other) => return self.add(other.span().start().line, &base, module),
                None => return,
            }
            let line = rest[0].span().start().line;
            tokens = &rest[1..];
            if !matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':')) {
                return self.add(line, &base, module);
            }
        }
    }

    /// Follows one part of a braced import: a path without a leading `::`.
    fn part(&mut self, tokens: &[TokenTree], mut base: Vec<String>, module: &[String]) {
        let Some(TokenTree::Ident(first)) = tokens.first() else { return };
        let line = first.span().start().line;
        if first == "self" {
            return self.add(line, &base, module);
        }
        base.push(first.to_string());
        if tokens.len() > 2 && self.modules.contains(base.as_slice()) && is_punct(&tokens[1], ':') {
            self.path(&tokens[1..], base, module);
        } else {
            self.add(line, &base, module);
        }
    }

    /// Adds a reference to `path`. The longest prefix of the path that names a module is the imported module.
    fn add(&mut self, line: usize, path: &[String], module: &[String]) {
        let lengths = (0..=path.len()).rev();
        let to = lengths.map(|length| &path[..length]).find(|to| to.is_empty() || self.modules.contains(to));
        let to = to.unwrap_or_default();
        if !to.is_empty() && to != module {
            let place = format!("{}:{line}", self.source.shown);
            // A module inside the file counts as the file's module.
            let import = Import { place, from: self.source.module.clone(), to: to.to_vec() };
            if !self.imports.contains(&import) {
                self.imports.push(import);
            }
        }
    }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Whether these tokens end with `#[cfg(test)]`, optionally followed by a visibility.
fn is_test(before: &[TokenTree]) -> bool {
    before.iter().rev().take(3).any(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            group.stream().to_string().replace(' ', "").contains("cfg(test)")
        }
        _ => false,
    })
}
