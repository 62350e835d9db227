//! Commands, written into what goes out next.

use ::fred::types::Value;

use crate::store::wire::push_length;

/// Writes commands, word by word.
pub(crate) struct Words<'a>(&'a mut Vec<u8>);

impl<'a> Words<'a> {
    pub(super) fn onto(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Begins a command of so many words, its name included.
    pub(in crate::scripts) fn command(&mut self, words: usize) {
        push_length(self.0, b'*', words);
    }

    pub(in crate::scripts) fn word(&mut self, word: &[u8]) {
        push_length(self.0, b'$', word.len());
        self.0.extend_from_slice(word);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(in crate::scripts) fn number(&mut self, number: u64) {
        self.word(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// What may be a word of a command.
pub(crate) trait Word {
    /// Writes it, as the next word.
    fn write(&self, words: &mut Words<'_>);
}

impl Word for &str {
    fn write(&self, words: &mut Words<'_>) {
        words.word(self.as_bytes());
    }
}

impl Word for String {
    fn write(&self, words: &mut Words<'_>) {
        words.word(self.as_bytes());
    }
}

impl Word for Value {
    fn write(&self, words: &mut Words<'_>) {
        match self {
            Self::Bytes(bytes) => words.word(bytes),
            Self::String(text) => words.word(text.as_bytes()),
            other => words.word(other.as_string().unwrap_or_default().as_bytes()),
        }
    }
}
