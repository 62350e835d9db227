//! What a command has to say, for people and for programs.

use serde_json::Value;

/// The result of a command.
pub(super) struct Answer {
    /// For people, without the last line feed.
    pub(super) text: String,
    /// For programs: one object.
    pub(super) json: Value,
    /// False: the user, or whoever was meant, is not there.
    pub(super) is_done: bool,
}

impl Answer {
    pub(super) const fn done(text: String, json: Value) -> Self {
        Self { text, json, is_done: true }
    }

    pub(super) const fn not_there(text: String, json: Value) -> Self {
        Self { text, json, is_done: false }
    }
}
