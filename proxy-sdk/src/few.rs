//! A list that mostly has one element, or none: then it is all there is, and nothing is allocated.

/// See the module.
#[derive(Clone, Debug)]
pub enum Few<T> {
    /// At most one.
    One(Option<T>),
    /// As long as it has to be.
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// Shows them in order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => one.as_slice(),
            Self::Many(many) => many,
        }
    }

    /// Adds one behind the others.
    pub fn push(&mut self, value: T) {
        match self {
            Self::One(one @ None) => *one = Some(value),
            Self::One(one) => *self = Self::Many(one.take().into_iter().chain([value]).collect()),
            Self::Many(many) => {
                many.reserve_exact(1);
                many.push(value);
            }
        }
    }

    /// Takes one out and puts the last in its place.
    pub fn swap_remove(&mut self, at: usize) -> Option<T> {
        match self {
            Self::One(one) => one.take_if(|_| at == 0),
            Self::Many(many) => (at < many.len()).then(|| many.swap_remove(at)),
        }
    }

    /// Keeps those that pass, and no room for others.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        match self {
            Self::One(one) => drop(one.take_if(|value| !keep(value))),
            Self::Many(many) => {
                many.retain(keep);
                *self = std::mem::take(many).into_iter().collect();
            }
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values = values.into_iter();
        let (first, second) = (values.next(), values.next());
        match second {
            None => Self::One(first),
            Some(_) => {
                let mut many: Vec<T> = first.into_iter().chain(second).chain(values).collect();
                many.shrink_to_fit();
                Self::Many(many)
            }
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::One(one) => (one, Vec::new()),
            Self::Many(many) => (None, many),
        };
        one.into_iter().chain(many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_like_any_other() {
        let mut few = Few::default();
        assert!(few.as_slice().is_empty() && few.swap_remove(0).is_none());
        for n in 1..=4 {
            few.push(n);
            assert_eq!(few.as_slice(), (1..=n).collect::<Vec<_>>());
        }
        assert_eq!(few.swap_remove(1), Some(2));
        assert_eq!(few.swap_remove(3), None);
        assert_eq!(few.as_slice(), [1, 4, 3]);
        few.retain(|n| *n == 4);
        assert!(matches!(few, Few::One(Some(4))), "no room is kept: {few:?}");
        few.retain(|n| *n == 4);
        assert_eq!(few.clone().into_iter().chain(Few::from_iter([5, 6])).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(few.swap_remove(1), None);
        few.retain(|_| false);
        assert!(few.as_slice().is_empty());
        assert_eq!(size_of::<Few<std::sync::Arc<str>>>(), size_of::<Vec<u8>>());
    }
}
