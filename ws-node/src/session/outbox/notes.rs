//! Which keys of class `latest` were offered while values of them were being read.
//!
//! Owns the answer to one question: is a value that was read older than what the client was offered meanwhile.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Keep, Part};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    readers: u32,
    keys: HashSet<Arc<str>>,
}

impl Notes {
    pub(super) fn begin(&mut self) {
        self.readers += 1;
    }

    /// Returns whether nobody reads any more.
    pub(super) fn end(&mut self) -> bool {
        self.readers = self.readers.saturating_sub(1);
        self.readers == 0
    }

    pub(super) fn note(&mut self, parts: &[Part]) {
        for part in parts {
            self.is_first(part);
        }
    }

    /// Takes note of a frame. Returns whether it is the first with its key.
    pub(super) fn is_first(&mut self, part: &Part) -> bool {
        match &part.keep {
            Keep::Latest(key) => self.keys.insert(Arc::clone(key)),
            Keep::Always | Keep::Live | Keep::Durable => true,
        }
    }
}
