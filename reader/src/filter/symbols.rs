//! Names of arguments' values in expressions: `evt.arg.flags has O_CREAT`, `evt.arg.cmd = TIOCGWINSZ`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::syscalls::{self, Arch, BitTest, Meanings, Signature, ValueSet, value_sets};
use crate::text::suggest;

/// What a literal is as a value of each set that has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbols(Vec<Symbol>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbol {
    /// [`ValueSet::id`]
    set: u16,
    number: u64,
    bits: BitTest,
}

impl Symbols {
    /// Reads a literal as values of an argument of this name, of any argument if it has none.
    pub(super) fn read(text: &str, argument: Option<&str>) -> Self {
        let symbol = |set: &&ValueSet| {
            Some(Symbol { set: set.id(), number: set.number(text)?, bits: set.bits(text)? })
        };
        Self(sets(argument).iter().filter_map(symbol).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, set: &ValueSet) -> Option<&Symbol> {
        self.0.iter().find(|symbol| symbol.set == set.id())
    }

    /// The number that the literal is in a set.
    pub(super) fn number(&self, set: &ValueSet) -> Option<u64> {
        self.of(set).map(|symbol| symbol.number)
    }

    /// The bits that the literal is in a set.
    pub(super) fn bits(&self, set: &ValueSet) -> Option<BitTest> {
        self.of(set).map(|symbol| symbol.bits)
    }
}

/// Why a literal is no value of an argument; `None` if its values have no names.
pub(super) fn refusal(text: &str, argument: &str) -> Option<String> {
    let sets = sets(Some(argument));
    if sets.is_empty() {
        return None;
    }
    let is_known = |word: &&str| sets.iter().any(|set| set.number(word).is_some());
    let wrong = text.split('|').map(str::trim).find(|word| !is_known(word));
    let Some(word) = wrong else {
        return Some(format!("no call has all of `{text}` in its argument `{argument}`"));
    };
    let hint = suggest::did_you_mean(&word.to_ascii_uppercase(), sets.iter().flat_map(|set| set.names()));
    Some(format!("`{word}` is not a value of `{argument}`{hint}"))
}

/// The sets of the arguments of this name, or of members of one, in the calls that this version knows, on all architectures.
fn sets(argument: Option<&str>) -> &'static [&'static ValueSet] {
    static SETS: LazyLock<HashMap<Option<String>, Vec<&'static ValueSet>>> = LazyLock::new(|| {
        let mut found: HashMap<Option<String>, Vec<&'static ValueSet>> = HashMap::new();
        let mut add = |name: String, set: &'static ValueSet| {
            for key in [None, Some(name)] {
                let known = found.entry(key).or_default();
                if !known.iter().any(|other| other.id() == set.id()) {
                    known.push(set);
                }
            }
        };
        for call in syscalls::table().iter() {
            let signature = Signature::from(call);
            for arch in Arch::ALL {
                let meanings = Meanings::new(&signature, arch);
                for (at, arg) in signature.args.iter().enumerate() {
                    for set in meanings.all_sets(at) {
                        add(arg.name.to_string(), set);
                    }
                    for member in arg.members() {
                        if let Some(set) = value_sets(arch).named(member.set) {
                            add(format!("{}.{}", arg.name, member.name), set);
                        }
                    }
                }
            }
        }
        found
    });
    let name = argument.map(|name| syscalls::argument_name(name).to_owned());
    SETS.get(&name).map_or(&[], Vec::as_slice)
}
