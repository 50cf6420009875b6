//! What a field is compared with, read once: a literal that is no value of the field is refused, never compared in vain.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::fields::words::Words;
use crate::fields::{Field, FieldType, Getter};
use crate::names;
use crate::syscalls::{self, ArgType, ValueSet};
use crate::text::address::{AddressError, Endpoint, Network};
use crate::text::time::{Span, TimeError, TimeSpec};
use crate::text::{number, suggest, units};

use super::op::Op;
use super::pattern::Pattern;
use super::symbols::{self, Symbols};

/// The largest number of an error.
const MAX_ERRNO: i128 = 4095;
/// `AT_FDCWD`: a relative path starts from the working directory.
const AT_FDCWD: i128 = -100;

/// A value as it stands in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Without quotes, escapes undone.
    pub bytes: Vec<u8>,
    /// Whether it stood in quotes.
    pub is_quoted: bool,
    /// The byte of the expression at which it starts.
    pub at: usize,
}

/// What a value is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Literal {
    /// As it was written, without quotes; one of a few words as the recorder writes it.
    pub bytes: Vec<u8>,
    /// Its number, if it is one.
    pub number: Option<i128>,
    /// Its point in time, if it is relative to the capture.
    time: Option<TimeSpec>,
    /// Its address, if it is one and the field can have one.
    pub(super) address: Option<Endpoint>,
    /// Its number as an argument of a type that is written in a way of its own.
    argument: ArgumentNumbers,
    /// Its number as an argument whose values have names.
    symbols: Symbols,
    /// What it matches, if it is a regular expression.
    pub(super) pattern: Option<Pattern>,
}

/// The number that a literal is, by the type of the argument that it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ArgumentNumbers {
    signal: Option<i128>,
    mode: Option<i128>,
    id: Option<i128>,
    directory: Option<i128>,
}

impl Literal {
    /// A literal that is compared as text.
    pub(super) fn text(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ..Self::default() }
    }

    /// Reads a literal of an operator that compares text.
    ///
    /// # Errors
    /// A message, if the operator cannot have such a literal.
    pub(super) fn of_text(bytes: &[u8], op: Op) -> Result<Self, String> {
        if op == Op::PathPrefix && bytes.is_empty() {
            return Err("a path is missing here; `/` is above all others".to_owned());
        }
        let pattern = (op == Op::Regex).then(|| Pattern::new(bytes)).transpose()?;
        Ok(Self { pattern, ..Self::text(bytes) })
    }

    /// Reads a literal as the type of the field wants it.
    ///
    /// # Errors
    /// A message, if the field cannot have such a value.
    pub(super) fn read(bytes: &[u8], (field, ty): (&Field, FieldType), op: Op) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut literal = Self { number: number::parse(&text), ..Self::text(bytes) };
        let is_equal = op == Op::Equal;
        match ty {
            FieldType::Text | FieldType::Kind | FieldType::Call | FieldType::EventType => {}
            FieldType::Number => _ = literal.require_number(&text)?,
            FieldType::Unsigned => {
                if literal.require_number(&text)? < 0 && is_equal {
                    return Err(format!("`{text}` is no value of this field, which is never negative"));
                }
            }
            FieldType::Port => {
                if !(0..=i128::from(u16::MAX)).contains(&literal.require_number(&text)?) && is_equal {
                    return Err(format!("`{text}` is not a port: a port is a number from 0 to 65535"));
                }
            }
            FieldType::Hundredths => {
                let value = number::parse_hundredths(&text);
                literal.number =
                    Some(value.ok_or_else(|| format!("`{text}` is not a number with at most two decimals"))?);
            }
            FieldType::Size => {
                if literal.number.is_none() {
                    literal.number = Some(units::size(&text).map_err(|e| e.to_string())?.into());
                }
            }
            FieldType::Duration => literal.number = Some(duration(&text, literal.number)?),
            FieldType::Time => {
                literal.time = Some(TimeSpec::parse(&text).map_err(|e| e.to_string())?);
                literal.number = None;
            }
            FieldType::Bool => {
                literal.number = match text.to_ascii_lowercase().as_str() {
                    "true" | "1" => Some(1),
                    "false" | "0" => Some(0),
                    _ => return Err(format!("`{text}` is neither true nor false")),
                };
            }
            FieldType::Address => {
                literal.address = Some(Network::parse(&text).map_err(|e| e.to_string())?.into());
            }
            FieldType::SockAddr => {
                literal.address = Some(Endpoint::parse(&text).map_err(|e| e.to_string())?);
            }
            FieldType::File => literal.address = maybe_address(&text)?,
            FieldType::Signal => literal.number = Some(signal(&text)?),
            FieldType::Errno => literal.number = Some(errno(&text, literal.number, None)?),
            FieldType::Outcome => literal.number = Some(errno(&text, literal.number, Some("SUCCESS"))?),
            FieldType::OneOf(words) => literal.bytes = word(&text, words)?.into(),
            FieldType::Flags(words) => literal.bytes = flags(&text, words)?.into(),
            FieldType::Any => literal.read_argument(&text, field)?,
        }
        if op.is_order() && literal.number.is_none() && literal.time.is_none() {
            return Err(not_a_number(&text));
        }
        Ok(literal)
    }

    fn require_number(&self, text: &str) -> Result<i128, String> {
        self.number.ok_or_else(|| not_a_number(text))
    }

    /// Reads a value of an argument: what it can be follows from the calls that have an argument of this name.
    fn read_argument(&mut self, text: &str, field: &Field) -> Result<(), String> {
        self.argument = ArgumentNumbers {
            signal: self.number.or_else(|| signal(text).ok()),
            mode: octal(text).or(self.number),
            id: if self.number == Some(-1) { Some(u32::MAX.into()) } else { self.number },
            directory: if text == "AT_FDCWD" { Some(AT_FDCWD) } else { self.number },
        };
        self.address = maybe_address(text)?;
        if matches!(field.getter(), Getter::Argument | Getter::RawArgument) {
            self.symbols = Symbols::read(text, field.key_name());
        }
        let types = match (field.getter(), field.key_name()) {
            (Getter::Argument | Getter::RawArgument, Some(name)) => argument_types(name),
            _ => &[],
        };
        // Text for a string; an argument that this version does not know, or does not record, may be anything.
        let mut kept = types.iter().filter(|ty| syscalls::kept(**ty) || ty.is_string()).peekable();
        let is_possible =
            kept.peek().is_none() || kept.any(|ty| ty.is_string() || self.of(Some(*ty), None).is_some());
        if is_possible || !self.symbols.is_empty() {
            return Ok(());
        }
        if let Some(refusal) = field.key_name().and_then(|name| symbols::refusal(text, name)) {
            return Err(refusal);
        }
        if types.contains(&ArgType::Signal) {
            return signal(text).map(|_| ());
        }
        Err(not_a_number(text))
    }

    /// The number that it is for an argument of a type; `None` for the type of one that no signature names.
    pub(super) fn of(&self, ty: Option<ArgType>, set: Option<&ValueSet>) -> Option<i128> {
        if let Some(number) = set.and_then(|set| self.symbols.number(set)) {
            let is_signed = ty.is_some_and(ArgType::is_signed);
            return Some(if is_signed { i128::from(number as i64) } else { number.into() });
        }
        match ty {
            Some(ArgType::Signal) => self.argument.signal,
            Some(ArgType::Mode) => self.argument.mode,
            Some(ArgType::Uid | ArgType::Gid) => self.argument.id,
            Some(ArgType::Dirfd) => self.argument.directory,
            Some(
                ArgType::Int
                | ArgType::Uint
                | ArgType::Long
                | ArgType::Ulong
                | ArgType::Fd
                | ArgType::Path
                | ArgType::Sockaddr
                | ArgType::SockaddrOut
                | ArgType::Socklen
                | ArgType::Msghdr
                | ArgType::Mmsghdr
                | ArgType::Argv
                | ArgType::Ptr
                | ArgType::Size
                | ArgType::Offset
                | ArgType::Flags
                | ArgType::Pid
                | ArgType::Address
                | ArgType::Command
                | ArgType::Const
                | ArgType::String
                | ArgType::Device
                | ArgType::Struct
                | ArgType::StructOrNumber
                | ArgType::StructOut
                | ArgType::StructInOut,
            )
            | None => self.number,
        }
    }

    /// Whether a number has all bits of it.
    pub(super) fn is_part_of(&self, value: u64, set: Option<&ValueSet>) -> bool {
        if let Some(wanted) = set.and_then(|set| self.symbols.bits(set)) {
            return wanted.accepts(value);
        }
        match self.number.map(|number| number as u64) {
            None => false,
            Some(0) => value == 0,
            Some(bits) => value & bits == bits,
        }
    }

    /// Turns a time that is relative to the capture into a point in time.
    pub(super) fn resolve(&mut self, span: &Span) -> Result<(), TimeError> {
        if let Some(time) = &self.time {
            self.number = Some(i128::from(time.resolve(span)?));
        }
        Ok(())
    }
}

fn not_a_number(text: &str) -> String {
    format!("`{text}` is not a number")
}

/// Nanoseconds. A number without a unit is one of them, as in sysdig; whoever meant another unit gets a hint.
fn duration(text: &str, number: Option<i128>) -> Result<i128, String> {
    if let Some(number) = number {
        return Ok(number);
    }
    let (negative, positive) = match text.strip_prefix('-') {
        Some(positive) => (true, positive),
        None => (false, text),
    };
    let ns = i128::from(units::duration(positive).map_err(|e| e.to_string())?);
    Ok(if negative { -ns } else { ns })
}

/// An address where text may be a path as well.
fn maybe_address(text: &str) -> Result<Option<Endpoint>, String> {
    match Endpoint::parse(text) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(error @ AddressError::Ambiguous { .. }) => Err(error.to_string()),
        Err(AddressError::Ip(_) | AddressError::Prefix(..) | AddressError::Endpoint(_)) => Ok(None),
    }
}

fn signal(text: &str) -> Result<i128, String> {
    names::signal_number(text).map(i128::from).ok_or_else(|| {
        let upper = text.to_ascii_uppercase();
        let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let hint = suggest::did_you_mean(&full, names::signal_names());
        format!("`{text}` is not a signal{hint}; `kill -l` lists names and numbers")
    })
}

/// The number of an error without its sign, 0 for `success`.
fn errno(text: &str, number: Option<i128>, success: Option<&'static str>) -> Result<i128, String> {
    if success.is_some_and(|success| text.eq_ignore_ascii_case(success)) {
        return Ok(0);
    }
    let lowest = i128::from(success.is_none());
    if let Some(number) = number.map(i128::abs).filter(|number| (lowest..=MAX_ERRNO).contains(number)) {
        return Ok(number);
    }
    names::errno_number(text).map(i128::from).ok_or_else(|| {
        let hint = suggest::did_you_mean(text, names::errno_names().chain(success));
        let what = success.map_or_else(String::new, |success| format!("; success is {success}"));
        format!("`{text}` is not the name or number of an error{hint}{what}")
    })
}

fn word<'a>(text: &'a str, words: &Words) -> Result<&'a str, String>
where
    'static: 'a,
{
    if text.is_empty() {
        return Ok(text);
    }
    words.find(text).ok_or_else(|| {
        let hint = suggest::did_you_mean(text, words.all.iter().copied());
        match words.all {
            [only] => format!("`{text}` is not {}; it is always `{only}`", words.what),
            all => format!("`{text}` is not {}{hint}; there are {}", words.what, all.join(", ")),
        }
    })
}

/// Words in any order, in the order of the recorder.
fn flags(text: &str, words: &Words) -> Result<String, String> {
    let mut found = Vec::new();
    for part in text.split('|').filter(|part| !part.is_empty()) {
        found.push(word(part, words)?);
    }
    let ordered: Vec<&str> = words.all.iter().copied().filter(|word| found.contains(word)).collect();
    Ok(ordered.join("|"))
}

/// Permissions as `ls` and text output write them: with a leading 0, in octal.
fn octal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'))?;
    i128::from_str_radix(digits, 8).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The types that arguments of this name, or members of one (`how.flags`), have in the calls that this version knows.
pub(super) fn argument_types(name: &str) -> &'static [ArgType] {
    static TYPES: LazyLock<HashMap<String, Vec<ArgType>>> = LazyLock::new(|| {
        let mut types: HashMap<String, Vec<ArgType>> = HashMap::new();
        let mut add = |name: String, ty: ArgType| {
            let known = types.entry(name).or_default();
            if !known.contains(&ty) {
                known.push(ty);
            }
        };
        for arg in syscalls::table().iter().flat_map(|call| &call.args) {
            add(arg.name.to_string(), arg.ty);
            for member in arg.members() {
                add(format!("{}.{}", arg.name, member.name), member.ty);
            }
        }
        types
    });
    TYPES.get(syscalls::argument_name(name)).map_or(&[], Vec::as_slice)
}
