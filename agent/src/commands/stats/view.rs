//! The view among the arguments of `ktape stats`, and what of it a capture does not have.

use std::ffi::{OsStr, OsString};

use anyhow::Result;

use super::StatsArgs;
use crate::commands::inputs::{is_missing, is_word, looks_like_file};
use crate::commands::views;
use crate::session::messages::message;
use crate::usage::usage;
use events::{Kind, KindSet};
use ktape_reader::stats::Plan;
use ktape_reader::stats::views::{Missing, OVERVIEW, View, Views};
use ktape_reader::text::escape::{Place, escaped};

/// Kinds that every capture has that records them.
const FREQUENT: KindSet = KindSet::of(&[Kind::Syscall, Kind::Switch, Kind::Sample]);

/// The arguments without the name of a view, and the view: that of `--view`, that of the arguments, or the overview if there are no
/// groups or columns. A file of that name wins.
///
/// # Errors
/// There is no such view, or it is not valid.
pub fn split(args: &StatsArgs) -> Result<(Vec<OsString>, Option<View>)> {
    let mut inputs = args.inputs.clone();
    let all = views::all()?;
    if let Some(own) = args.own {
        return Ok((inputs, Some(views::named(&all, own.name)?)));
    }
    let word = word(&inputs, &all);
    if let Some(file) = &args.view {
        if let Some((_, word)) = word {
            return Err(usage(format!("there can be one view, and --view is another than `{word}`")));
        }
        let view = View::open(file, &views::names()?)?;
        all.check_enter(&view)?;
        return Ok((inputs, Some(view)));
    }
    if let Some((at, word)) = word {
        if !all.has(&word) {
            let hint = all.hint(&word);
            return Err(usage(format!(
                "`{word}` is neither a file nor a view{hint}; `ktape views` lists all views"
            )));
        }
        if at == 0 {
            return Err(usage(format!(
                "no capture given for the view `{word}`; use: ktape stats FILE {word}"
            )));
        }
        inputs.remove(at);
        return Ok((inputs, Some(views::named(&all, &word)?)));
    }
    Ok((inputs, overview(args, &all)?))
}

/// The view that is shown if the arguments name neither a view nor groups or columns.
fn overview(args: &StatsArgs, views: &Views) -> Result<Option<View>> {
    let is_given = !args.by.is_empty() || !args.columns.is_empty() || args.per.is_some();
    let is_given = is_given || args.having.is_some() || !args.sort.is_empty();
    let is_given = is_given || args.histogram.is_some() || args.heatmap.is_some();
    Ok(if is_given { None } else { Some(views::named(views, OVERVIEW)?) })
}

/// The expression and the view among the arguments of `--live`: `[VIEW] [EXPR]`.
///
/// # Errors
/// There are others, or there is no such view.
pub fn split_live(args: &StatsArgs) -> Result<(Option<String>, Option<View>)> {
    let all = views::all()?;
    let mut inputs = &args.inputs[..];
    let shown = |input: &OsString| escaped(input.as_encoded_bytes(), Place::Free).into_owned();
    let mut view = args.own.map(|own| views::named(&all, own.name)).transpose()?;
    if let ([first, others @ ..], None) = (inputs, &view)
        && let Some(word) = first.to_str().filter(|word| is_view_word(word))
    {
        if !all.has(word) {
            let hint = all.hint(word);
            return Err(usage(format!("there is no view `{word}`{hint}; `ktape views` lists all views")));
        }
        if args.view.is_some() {
            return Err(usage(format!("there can be one view, and --view is another than `{word}`")));
        }
        view = Some(views::named(&all, word)?);
        inputs = others;
    }
    if let Some(file) = &args.view {
        let of_file = View::open(file, &views::names()?)?;
        all.check_enter(&of_file)?;
        view = Some(of_file);
    }
    let expression = match inputs {
        [] => None,
        [one] if looks_like_file(one) => {
            return Err(usage(format!("--live records and reads no captures such as {}", shown(one))));
        }
        [one] => Some(one.to_str().ok_or_else(|| usage("the expression is not valid UTF-8"))?.to_owned()),
        [_, other, ..] => {
            return Err(usage(format!(
                "unexpected argument `{}`; use: ktape stats --live [VIEW] ['EXPR']",
                shown(other)
            )));
        }
    };
    let view = if view.is_some() { view } else { overview(args, &all)? };
    Ok((expression, view))
}

/// The place of the argument that can only be a view: the last one, or the one before the expression.
fn word(inputs: &[OsString], views: &Views) -> Option<(usize, String)> {
    let missing: Vec<usize> = (0..inputs.len()).filter(|at| is_missing(&inputs[*at])).collect();
    let last = inputs.len().checked_sub(1)?;
    let at = match missing[..] {
        [at] if at == last => at,
        [at, expression] if expression == last && at + 1 == last && !is_word(&inputs[last]) => at,
        _ => return None,
    };
    let word = inputs[at].to_str().filter(|word| is_view_word(word))?;
    // A single word is a file that does not exist, unless a view has that name.
    let is_view = at > 0 || views.has(word);
    is_view.then(|| (at, word.to_owned()))
}

fn is_view_word(word: &str) -> bool {
    !word.is_empty() && is_word(OsStr::new(word)) && !word.contains(['.', '/', ',', '['])
}

/// Prints what the view needs and the captures do not have. Returns whether that is why there are no rows.
pub fn note_missing(view: &View, plan: &Plan, recorded: KindSet, is_empty: bool) -> bool {
    let Missing { kinds, columns } = view.missing(plan, recorded);
    let name = &view.name;
    let is_reason = !kinds.is_empty() && is_empty;
    if is_reason {
        let how = match view.to_record(plan).join(",") {
            record if record.is_empty() => "none happened".to_owned(),
            record if is_frequent(&kinds) => format!("record them with: ktape capture -e {record}"),
            record => {
                format!("none happened, or they were not recorded; to record them: ktape capture -e {record}")
            }
        };
        message(format_args!(
            "the view {name} needs {} events, and there are none: {how}",
            kinds.join(" or ")
        ));
    }
    let mut absent: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for (title, kinds) in columns.into_iter().filter(|(_, kinds)| is_frequent(kinds)) {
        match absent.iter_mut().find(|(known, _)| *known == kinds) {
            Some((_, titles)) => titles.push(title),
            None => absent.push((kinds, vec![title])),
        }
    }
    for (kinds, titles) in absent.into_iter().filter(|_| !is_empty) {
        message(format_args!(
            "no values for {}: there are no {} events; record them with: ktape capture -e {}",
            titles.join(", "),
            kinds.join(" or "),
            kinds[0]
        ));
    }
    is_reason
}

fn is_frequent(kinds: &[&str]) -> bool {
    FREQUENT.iter().any(|kind| kinds.contains(&kind.decl().name))
}
