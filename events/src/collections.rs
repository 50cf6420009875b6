//! A value for each kind, and sets of kinds. Both grow with the table.

use core::ops::{Index, IndexMut};

use super::{KIND_COUNT, KINDS, Kind};

/// A value for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindMap<T>([T; KIND_COUNT]);

impl<T> KindMap<T> {
    /// What `value` gives for each kind.
    pub fn new(mut value: impl FnMut(Kind) -> T) -> Self {
        Self(core::array::from_fn(|i| value(KINDS[i])))
    }

    /// Every kind with its value, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        KINDS.into_iter().zip(&self.0)
    }
}

impl<T: Default> Default for KindMap<T> {
    fn default() -> Self {
        Self::new(|_| T::default())
    }
}

impl<T> Index<Kind> for KindMap<T> {
    type Output = T;

    #[inline]
    fn index(&self, kind: Kind) -> &T {
        &self.0[kind.index()]
    }
}

impl<T> IndexMut<Kind> for KindMap<T> {
    #[inline]
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind.index()]
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KindSet(u64);

const _: () = assert!(KIND_COUNT <= u64::BITS as usize, "a KindSet has a bit for every kind");

impl KindSet {
    /// No kind.
    pub const EMPTY: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self::of(&KINDS);

    /// These kinds.
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut set = Self::EMPTY;
        let mut i = 0;
        while i < kinds.len() {
            set = set.with(kinds[i]);
            i += 1;
        }
        set
    }

    /// This set with one more kind.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind.index())
    }

    /// The kinds that are in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a kind is in it.
    #[inline]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind.index()) != 0
    }

    /// Whether no kind is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many kinds are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Its kinds, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        KINDS.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, Self::with)
    }
}
