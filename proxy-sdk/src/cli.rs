//! The operators' command `gim`.
//!
//! Owns the way from arguments to output and exit code. Speaks to one node through [`NodeClient`], as any service would;
//! what is malformed is refused before. Never exits and never names standard output: its caller does.

mod answer;
mod args;
mod dead;
mod nodes;
mod push;
mod queue;
mod table;
mod time;
mod token;
mod users;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use crate::{ClientOptions, Error, NodeClient};
use answer::Answer;
use args::{Command, Flags};

/// Exit code: it was done.
pub const DONE: u8 = 0;
/// Exit code: it was not done, the message says why.
pub const FAILED: u8 = 1;
/// Exit code: the arguments are not usable.
pub const USAGE: u8 = 2;
/// Exit code: the user is not online, or nobody took what was sent.
pub const NOT_THERE: u8 = 3;

/// Does what a command line asks for, whose first argument is the program. Returns the exit code.
///
/// Results go to `out`, messages about failures to `err`.
pub async fn run<A>(arguments: A, out: &mut dyn Write, err: &mut dyn Write) -> u8
where
    A: IntoIterator<Item = OsString>,
{
    let flags = match Flags::try_parse_from(arguments) {
        Ok(flags) => flags,
        Err(error) => return explain(&error, out, err),
    };
    let is_json = flags.json;
    let (code, written) = match execute(flags).await {
        Ok(answer) => (if answer.is_done { DONE } else { NOT_THERE }, show(&answer, is_json, out, err)),
        Err(error) => (FAILED, complain(&error, err)),
    };
    ended(code, written)
}

async fn execute(flags: Flags) -> Result<Answer, Error> {
    let token = token::read(flags.token_file.as_deref())?;
    let options = ClientOptions { deadline: flags.timeout, token, ..ClientOptions::default() };
    let connect_timeout = options.connect_timeout.min(flags.timeout);
    let client = NodeClient::at(flags.node, ClientOptions { connect_timeout, ..options })?;
    match flags.command {
        Command::Push(push) => push::run(push, &client).await,
        Command::Kick(kick) => users::kick(kick, &client).await,
        Command::Join(member) => users::join(member, &client).await,
        Command::Leave(member) => users::leave(member, &client).await,
        Command::Nodes => nodes::run(&client).await,
        Command::Queue => queue::run(&client).await,
        Command::Dead(dead) => dead::run(dead, &client).await,
    }
}

fn show(answer: &Answer, is_json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    if is_json {
        writeln!(out, "{}", answer.json)?;
    } else if answer.is_done {
        writeln!(out, "{}", answer.text)?;
    } else {
        writeln!(err, "gim: {}", answer.text)?;
    }
    out.flush()
}

fn complain(error: &Error, err: &mut dyn Write) -> io::Result<()> {
    write!(err, "gim: {}", table::printable(&error.to_string()))?;
    let mut last = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // A status repeats what the error says, in other words; its own cause does not.
        if !error.is::<tonic::Status>() && error.to_string() != last {
            last = error.to_string();
            write!(err, ": {}", table::printable(&last))?;
        }
        cause = error.source();
    }
    writeln!(err)
}

/// Tells a question about the program from a mistake.
fn explain(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        ended(USAGE, write!(err, "{text}"))
    } else {
        ended(DONE, write!(out, "{text}").and_then(|()| out.flush()))
    }
}

fn ended(code: u8, written: io::Result<()>) -> u8 {
    match written {
        // Whoever reads, as `head` does, may stop before the end.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => FAILED,
        _ => code,
    }
}

#[cfg(test)]
mod tests;
