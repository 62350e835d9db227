//! `gim bench`: its flags, and the way from them to figures and an exit code.
//!
//! Owns what the command line may say. What is measured and how is [`crate::bench`]'s.

mod args;
mod redis;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::screen::Screen;
use super::{DONE, FAILED, UNCLEAN, USAGE, token};
use crate::bench::client::{self, Work};
use crate::bench::figures::Figures;
use crate::bench::run::{Kind, Plan, Refused, Way, run as measure};
use crate::bench::{self, Result};
use crate::{Error, ErrorKind};

pub(super) use self::args::Bench;

/// The words that make this binary a load client.
const ROLE: &[&str] = &["bench-client"];
/// The variable that holds the token of the admin listener when no file is named.
const VARIABLE: &str = "GIM_ADMIN__TOKEN";
/// What the keys of a service begin with unless something else is said.
const PREFIX: &str = "gim";
/// Lines on their way to the screen. One too many is left out.
const LINES: usize = 64;

/// Is a load client, until its parent goes.
pub(super) fn client(work: &Work, screen: &mut Screen<'_>) -> (u8, io::Result<()>) {
    match client::run(work) {
        Ok(()) => (DONE, Ok(())),
        Err(error) => (FAILED, screen.say(&format!("load client: {error}"))),
    }
}

/// Measures, and tells the exit code.
pub(super) async fn run(bench: Bench, prefix: Option<String>, screen: &mut Screen<'_>) -> (u8, io::Result<()>) {
    let (plan, kind) = match plan(&bench, prefix) {
        Ok(plan) => plan,
        Err(error) => return (USAGE, screen.complain(&error)),
    };
    match watched(plan, kind, screen).await {
        Ok(figures) => (if figures.is_clean() { DONE } else { UNCLEAN }, screen.show_figures(&figures)),
        Err(error) => (if error.is::<Refused>() { USAGE } else { FAILED }, screen.say(&error.to_string())),
    }
}

/// Measures on a thread of its own, which may wait, and says how it goes.
async fn watched(plan: Plan, kind: Kind, screen: &mut Screen<'_>) -> Result<Figures> {
    let (lines, mut said) = mpsc::channel(LINES);
    let measuring = tokio::task::spawn_blocking(move || {
        measure(&plan, kind, &mut |line| {
            // Nobody waits for a reader while something is measured.
            let _ = lines.try_send(line);
        })
    });
    while let Some(line) = said.recv().await {
        screen.say(&line)?;
    }
    measuring.await?
}

fn plan(bench: &Bench, prefix: Option<String>) -> std::result::Result<(Plan, Kind), Error> {
    let prefix = prefix.or_else(|| std::env::var("GIM_PREFIX").ok()).unwrap_or_else(|| PREFIX.to_owned());
    let common = bench.common();
    let kind = bench.kind();
    let needs_way = !matches!(kind, Kind::Idle | Kind::Login { .. });
    let redis = common.redis.as_deref().map(|url| redis::Redis::named(url, common)).transpose()?;
    let way = match (redis, needs_way) {
        (_, false) => Way::None,
        (Some(redis), true) if common.sdk => Way::Sdk(redis.url(), prefix),
        (Some(redis), true) if redis.is_single() => Way::Xadd(redis.url(), prefix),
        (Some(_), true) => {
            let detail = "plain XADD goes to a single Redis, redis://host:port: add --sdk, or use --http";
            return Err(Error::new(ErrorKind::Invalid, detail));
        }
        (None, true) => {
            Way::Http { addresses: common.http.clone(), token: admin_token(common.admin_token_file.as_deref())? }
        }
    };
    let plan = Plan {
        role: ROLE,
        urls: common.url.clone(),
        connections: common.connections,
        clients: common.clients,
        users: common.users.clone(),
        group: common.group.clone(),
        way,
        payload: common.payload,
        seconds: bench.seconds(),
        grace: common.grace,
        window: common.window,
        processes: common.process.clone(),
        core: None,
    };
    Ok((plan, kind))
}

fn admin_token(file: Option<&Path>) -> std::result::Result<Option<Arc<str>>, Error> {
    token::read_from(file, VARIABLE)
}

impl Screen<'_> {
    /// Says a line that is no result.
    fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.err, "gim: {}", super::table::printable(line))
    }

    fn show_figures(&mut self, figures: &bench::figures::Figures) -> io::Result<()> {
        match self.is_json {
            true => writeln!(self.out, "{}", serde_json::to_string(figures)?)?,
            false => writeln!(self.out, "{figures}")?,
        }
        self.out.flush()
    }
}
