//! Where results and complaints go.
//!
//! Owns the form: what reaches a terminal holds no characters that command one.

use std::io::{self, Write};

use super::answer::Answer;
use super::table::printable;
use crate::Error;

/// See the module.
pub(super) struct Screen<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    pub(super) is_json: bool,
}

impl Screen<'_> {
    /// Shows what a command has to say.
    pub(super) fn show(&mut self, answer: &Answer) -> io::Result<()> {
        if self.is_json {
            writeln!(self.out, "{}", answer.json)?;
        } else if answer.is_done {
            writeln!(self.out, "{}", answer.text)?;
        } else {
            writeln!(self.err, "gim: {}", answer.text)?;
        }
        self.out.flush()
    }

    /// Says what went wrong, and why, in one line.
    pub(super) fn complain(&mut self, error: &Error) -> io::Result<()> {
        write!(self.err, "gim: {}", printable(&error.to_string()))?;
        let mut last = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            // A status repeats what the error says, in other words; its own cause does not.
            if !error.is::<tonic::Status>() && error.to_string() != last {
                last = error.to_string();
                write!(self.err, ": {}", printable(&last))?;
            }
            cause = error.source();
        }
        writeln!(self.err)
    }
}
