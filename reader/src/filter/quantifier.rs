//! How many of the values in a list have to fit.

/// How many of the literals of a comparison have to fit a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one (`in`, `anyof`).
    #[default]
    Any,
    /// Every one (`allof`).
    All,
    /// Exactly one (`oneof`).
    One,
    /// All but exactly one, of several: what `!= oneof` asks of the values that are equal.
    AllButOne,
}

/// The modifiers, as messages list them.
pub(super) const MODIFIERS: [&str; 3] = ["oneof", "anyof", "allof"];

impl Quantifier {
    /// The modifier written as `word`.
    pub(super) fn from_text(word: &str) -> Option<Self> {
        match word {
            "anyof" => Some(Self::Any),
            "allof" => Some(Self::All),
            "oneof" => Some(Self::One),
            _ => None,
        }
    }

    /// The modifier of `!=` with a list of `length` values, in terms of `=`, and whether the result is inverted: as in
    /// sysdig, it counts the values that differ.
    pub(super) fn of_differing(self, length: usize) -> (Self, bool) {
        match self {
            Self::Any => (Self::All, true),
            Self::All => (Self::Any, true),
            // A single value differs, also from a missing one.
            Self::One | Self::AllButOne if length == 1 => (Self::Any, true),
            Self::One => (Self::AllButOne, false),
            Self::AllButOne => (Self::One, false),
        }
    }

    /// Whether enough of the literals fit.
    pub(super) fn holds(self, mut fits: impl Iterator<Item = bool>) -> bool {
        match self {
            Self::Any => fits.any(|fits| fits),
            Self::All => fits.all(|fits| fits),
            Self::One => fits.filter(|fits| *fits).count() == 1,
            Self::AllButOne => fits.filter(|fits| !*fits).count() == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_count_what_fits() {
        for (quantifier, expected) in [
            (Quantifier::Any, [false, true, true, true]),
            (Quantifier::All, [false, false, false, true]),
            (Quantifier::One, [false, true, false, false]),
            (Quantifier::AllButOne, [false, false, true, false]),
        ] {
            for (fitting, expected) in expected.into_iter().enumerate() {
                let fits = (0..3).map(|i| i < fitting);
                assert_eq!(quantifier.holds(fits), expected, "{quantifier:?}, {fitting} of 3");
            }
        }
    }

    #[test]
    fn modifiers_of_unequal_count_what_differs() {
        for modifier in [Quantifier::Any, Quantifier::All, Quantifier::One] {
            for length in 1..4 {
                let (quantifier, inverted) = modifier.of_differing(length);
                for equal in 0..=length {
                    let expected = modifier.holds((0..length).map(|i| i >= equal));
                    let found = quantifier.holds((0..length).map(|i| i < equal)) != inverted;
                    assert_eq!(found, expected, "{modifier:?}, {equal} of {length} are equal");
                }
            }
        }
    }
}
