//! A set of the few entries a model has: a number, so that a state that holds some is cheap to copy and to hash.

/// Entries of a model, at most.
pub(crate) const ENTRIES: usize = 3;

/// A set of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Set(pub(crate) u8);

impl Set {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn below(end: u8) -> Self {
        Self((1 << end) - 1)
    }

    pub(crate) fn has(self, entry: u8) -> bool {
        self.0 & (1 << entry) != 0
    }

    pub(crate) fn add(&mut self, entry: u8) {
        self.0 |= 1 << entry;
    }

    pub(crate) fn take(&mut self, entry: u8) -> bool {
        let had = self.has(entry);
        self.0 &= !(1 << entry);
        had
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..ENTRIES as u8).filter(move |entry| self.has(*entry))
    }

    /// The first of those from an entry on.
    pub(crate) fn page(self, from: u8, count: usize) -> Self {
        self.iter().filter(|entry| *entry >= from).take(count).collect()
    }

    pub(crate) fn first(self) -> Option<u8> {
        self.iter().next()
    }

    pub(crate) fn last(self) -> Option<u8> {
        self.iter().last()
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<T: IntoIterator<Item = u8>>(entries: T) -> Self {
        entries.into_iter().fold(Self::EMPTY, |set, entry| Self(set.0 | 1 << entry))
    }
}
