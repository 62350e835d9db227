//! Changes that were made in memory and that the journal had no room for.
//!
//! For an owner of rows that may not refuse what it is told: a settlement, an acknowledgement. What it owes goes before its
//! next changes, so that the order holds.

use super::{Change, Journal, JournalError, Kept};

/// See the module.
#[derive(Debug, Default)]
pub struct Owed(Vec<Change>);

impl Owed {
    /// Submits what is owed and these changes together.
    ///
    /// # Errors
    /// The journal takes nothing: all of it is owed from now on. Submit again, with nothing new, until it is taken.
    pub fn submit(&mut self, journal: &dyn Journal, changes: Vec<Change>) -> Result<Kept, JournalError> {
        if self.0.is_empty() {
            // Rows are cheap to copy: their bytes are shared.
            return journal.take(changes.clone()).inspect_err(|_| self.0 = changes);
        }
        self.0.extend(changes);
        let kept = journal.take(self.0.clone())?;
        self.0 = Vec::new();
        Ok(kept)
    }

    /// Counts the changes owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
