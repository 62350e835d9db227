//! The operators' command `gim`.
//!
//! Owns the way from arguments to output and exit code. Speaks to one node through [`NodeClient`](crate::NodeClient), as
//! any service would, be it at a fixed address or one found in etcd; what is malformed is refused before. Never exits and
//! never names standard output: its caller does.

mod answer;
mod args;
#[cfg(all(feature = "bench", target_os = "linux"))]
mod bench;
mod cancel;
mod dead;
mod drain;
mod figures;
mod ledger;
mod nodes;
mod push;
mod queue;
mod screen;
mod table;
mod time;
mod token;
mod top;
mod trace;
mod users;
mod way;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Parser;

use crate::{ClientOptions, Error};
use answer::Answer;
use args::{Command, Flags, Once, Place};
use screen::Screen;
use way::Way;

/// Exit code: it was done.
pub const DONE: u8 = 0;
/// Exit code: it was not done, the message says why.
pub const FAILED: u8 = 1;
/// Exit code: the arguments are not usable.
pub const USAGE: u8 = 2;
/// Exit code: the user is not online, nobody took what was sent, or what was to be taken back was not there any more.
pub const NOT_THERE: u8 = 3;
/// Exit code: it was measured, but something was lost, came twice or out of order, or the load side was the bound.
pub const UNCLEAN: u8 = 4;

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
    let mut screen = Screen { out, err, is_json: flags.json };
    let (code, written) = execute(flags, &mut screen).await;
    ended(code, written)
}

/// Tells the exit code, and whether what there was to say could be said.
async fn execute(flags: Flags, screen: &mut Screen<'_>) -> (u8, io::Result<()>) {
    #[cfg(all(feature = "bench", target_os = "linux"))]
    match flags.command {
        Command::Bench(load) => return bench::run(*load, flags.place.prefix, screen).await,
        Command::BenchClient(work) => return bench::client(&work, screen),
        Command::Once(_) | Command::Top(_) | Command::Trace(_) => {}
    }
    let way = match open(flags.place, flags.timeout, flags.token_file.as_deref()).await {
        Ok(way) => way,
        Err(error) => return (FAILED, screen.complain(&error)),
    };
    let answer = match flags.command {
        Command::Top(top) => return top::run(&top, &way, screen).await,
        Command::Trace(trace) => return trace::run(trace, &way, screen).await,
        #[cfg(all(feature = "bench", target_os = "linux"))]
        Command::Bench(_) | Command::BenchClient(_) => return (USAGE, Ok(())),
        Command::Once(once) => ask(once, &way).await,
    };
    match answer {
        Ok(answer) => (if answer.is_done { DONE } else { NOT_THERE }, screen.show(&answer)),
        Err(error) => (FAILED, screen.complain(&error)),
    }
}

async fn ask(once: Once, way: &Way) -> Result<Answer, Error> {
    match once {
        Once::Push(push) => push::run(push, &way.any().await?).await,
        Once::Cancel(cancel) => cancel::run(cancel, &way.any().await?).await,
        Once::Kick(kick) => users::kick(kick, &way.any().await?).await,
        Once::Users(users) => users::show(users, &way.any().await?).await,
        Once::Join(join) => users::join(join, &way.any().await?).await,
        Once::Leave(member) => users::leave(member, &way.any().await?).await,
        Once::Nodes => nodes::run(&way.any().await?).await,
        Once::Drain(drain) => drain::run(drain, way).await,
        Once::Queue => queue::run(&way.any().await?).await,
        Once::Receipts(page) => ledger::receipts(page, &way.any().await?).await,
        Once::Presence(page) => ledger::presence(page, &way.any().await?).await,
        Once::Dead(dead) => dead::run(dead, &way.any().await?).await,
    }
}

async fn open(place: Place, timeout: Duration, token_file: Option<&Path>) -> Result<Way, Error> {
    let usual = ClientOptions::default();
    let options = ClientOptions {
        deadline: timeout,
        connect_timeout: usual.connect_timeout.min(timeout),
        drain_deadline: usual.drain_deadline.max(timeout),
        token: token::read(token_file)?,
        ..usual
    };
    Way::open(place, options).await
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
