//! Connections that do nothing, and everybody logging in at once.

use std::time::Duration;

use serde_json::json;

use super::Plan;
use super::watch::Watch;
use crate::bench::client::{Clients, Work};
use crate::bench::figures::{Figures, Load, LoginFigures};
use crate::bench::report::Logins;
use crate::bench::{Result, clock};

/// Before memory is read: what starts late has started, what is given back has been given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn idle(plan: &Plan, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    let watch = Watch::find(&plan.processes)?;
    let before = watch.read(std::iter::empty())?;
    let (mut clients, logins) = log_in(plan)?;
    tell(format!("{} connections in {:.1} s; idle for {} s", logins.connected, logins.seconds, plan.seconds));
    let after_logins = watch.read(clients.pids())?;
    clients.begin()?;
    clock::sleep(SETTLE);
    clock::sleep(Duration::from_secs(plan.seconds));
    let report = clients.end()?;
    let after = watch.read(clients.pids())?;
    let mut figures = figures("idle", plan, &logins);
    figures.servers = watch.between(&before, &after_logins, logins.connected);
    figures.others_cpu_seconds = after_logins.others_since(&before);
    for (server, later) in figures.servers.iter_mut().zip(watch.between(&after_logins, &after, 1)) {
        server.rss_after_bytes = later.rss_after_bytes;
        let grown = server.rss_after_bytes as f64 - server.rss_before_bytes as f64;
        figures.notes.push(format!(
            "{}: {:.0} bytes of RSS per connection after {} s; idle it used {:.2} % of a core",
            server.name,
            grown / logins.connected.max(1) as f64,
            plan.seconds,
            100.0 * later.cpu_seconds / after.seconds_since(&after_logins)
        ));
    }
    if figures.servers.is_empty() {
        figures.notes.push("no process was named with --process: nothing is known of memory and CPU".to_owned());
    }
    if report.ended > 0 {
        figures.problems.push(format!("{} connections ended while nothing was sent", report.ended));
    }
    figures.asked = format!("{} connections, each with a group of all, for {} s", logins.connected, plan.seconds);
    figures.settings = plan.to_json(json!({ "idle": {} }));
    figures.judge(false, logins.trouble.as_deref().or(report.trouble.as_deref()));
    Ok(figures)
}

pub(super) fn storm(plan: &Plan, rounds: u64, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    let watch = Watch::find(&plan.processes)?;
    let before = watch.read(std::iter::empty())?;
    let (mut all, mut wall, mut bench) = (Logins::default(), 0.0, 0.0);
    let mut fewest = u64::MAX;
    for round in 1..=rounds {
        let (clients, logins) = log_in(plan)?;
        let (rate, connected) = (logins.connected as f64 / logins.seconds.max(f64::MIN_POSITIVE), logins.connected);
        tell(format!("round {round}: {connected} logins in {:.2} s, {rate:.0}/s", logins.seconds));
        bench += watch.read(clients.pids())?.load_cpu();
        wall += logins.seconds;
        fewest = fewest.min(logins.connected);
        all = all.and(logins);
        // All connections of the round break at once, as they do when a network goes; the next round finds it so.
        drop(clients);
    }
    all.seconds = wall;
    let after = watch.read(std::iter::empty())?;
    let mut figures = figures("login", plan, &all);
    figures.wanted = plan.connections as u64 * rounds;
    figures.servers = watch.between(&before, &after, all.connected);
    figures.others_cpu_seconds = (after.others_since(&before) - bench).max(0.0);
    let rate = all.connected as f64 / wall.max(f64::MIN_POSITIVE);
    figures
        .notes
        .push(format!("{rate:.0} logins/s over all rounds, each with a group joined; at least {fewest} in each round"));
    figures.asked =
        format!("{} logins at once, {rounds} times, {} under way in each load client", plan.connections, plan.window);
    figures.settings = plan.to_json(json!({ "login": { "rounds": rounds } }));
    figures.judge(false, all.trouble.as_deref());
    Ok(figures)
}

fn log_in(plan: &Plan) -> Result<(Clients, Logins)> {
    let work = Work { join: vec![plan.tgid(0)?.to_string()], ..plan.work(plan.connections) };
    let mut clients = Clients::start(plan.role, &work, plan.clients)?;
    let logins = clients.logged_in()?;
    match logins.connected {
        0 => Err(format!("nobody could connect: {}", logins.trouble.unwrap_or_default()).into()),
        _ => Ok((clients, logins)),
    }
}

fn figures(what: &'static str, plan: &Plan, logins: &Logins) -> Figures {
    Figures {
        what,
        asked: String::new(),
        settings: serde_json::Value::Null,
        wanted: plan.connections as u64,
        logins: LoginFigures::of(logins),
        turn: None,
        servers: Vec::new(),
        others_cpu_seconds: 0.0,
        load: Load { clients: plan.clients, busiest_client: logins.busy, ..Load::default() },
        notes: Vec::new(),
        problems: Vec::new(),
    }
}
