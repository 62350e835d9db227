//! Fields of an entry as they travel: ordered pairs of name and bytes.
//!
//! Owns no rule but this one: of fields with the same name the last counts. Unknown fields are kept.

use std::borrow::Cow;

use bytes::Bytes;

/// Names that mean something, in the order of the documentation.
pub(super) const KNOWN: [&str; 19] = [
    "to_uid",
    "to_uids",
    "tgid",
    "tgid_list",
    "all",
    "except_uid",
    "data",
    "mol",
    "ctrl",
    "raw",
    "id",
    "class",
    "key",
    "ttl_ms",
    "deliver_at_ms",
    "priority",
    "receipt",
    "traceparent",
    "msg",
];

/// Fields of an entry, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Cow<'static, str>, Bytes)>);

impl Fields {
    /// Makes an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a field. It hides earlier ones of the same name.
    pub fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.push((intern(name), value.into()));
    }

    /// Puts a field in the place of all of the same name.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Takes out all fields of a name. Returns the value that counted.
    pub fn remove(&mut self, name: &str) -> Option<Bytes> {
        let value = self.get(name).cloned()?;
        self.0.retain(|(other, _)| other != name);
        Some(value)
    }

    /// Finds a field's value: the last of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Goes through all fields in order, hidden ones too.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Counts the bytes of all names and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Counts the fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: Into<Bytes>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (intern(name.as_ref()), value.into())).collect())
    }
}

// Almost every field has a known name: no copy of it is made.
fn intern(name: &str) -> Cow<'static, str> {
    match KNOWN.into_iter().find(|known| *known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}
