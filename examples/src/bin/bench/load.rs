//! Load clients, on the core that is theirs. The bench runs one, but where a process cannot hold enough connections.

use std::time::Duration;

use gim_proxy_sdk::bench::client::{Clients, Work};
use gim_proxy_sdk::bench::report::{Logins, Report};
use gim_proxy_sdk::bench::run::{Plan, Way};

use crate::Result;
use crate::args::Settings;
use crate::machine::Cores;

/// What a load client is called on the command line.
pub(crate) const ROLE: &[&str] = &["load"];

/// How long after the last message something may still come.
const GRACE: Duration = Duration::from_secs(30);
/// Logins under way at once.
const WINDOW: usize = 128;

pub(crate) struct Load(Clients);

/// The uid of a connection.
pub(crate) fn uid(number: usize) -> String {
    Work::new(Vec::new(), 0).uid(number)
}

/// A load of `gim bench` on a node, or on several with commas between, by one load client.
pub(crate) fn plan(nodes: &str, connections: usize, way: Way, settings: &Settings, cores: Cores) -> Result<Plan> {
    Ok(Plan {
        role: ROLE,
        urls: nodes.split(',').map(|node| format!("ws://{node}/ws").parse()).collect::<std::result::Result<_, _>>()?,
        connections,
        clients: 1,
        users: "bench-".to_owned(),
        group: "bench".to_owned(),
        way,
        payload: settings.payload,
        seconds: settings.seconds,
        grace: GRACE,
        window: WINDOW,
        processes: Vec::new(),
        core: cores.client,
    })
}

impl Load {
    /// Starts one at a server, or at several with commas between; its connections join groups, also with commas between.
    pub(crate) fn start(server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Self> {
        Self::begin_with(work(server, hold, join, cores)?)
    }

    /// The same, for one of several load clients: its connections are numbered from `first` on.
    pub(crate) fn start_from(
        first: usize,
        server: &str,
        hold: usize,
        join: Option<&str>,
        cores: Cores,
    ) -> Result<Self> {
        Self::begin_with(Work { first, ..work(server, hold, join, cores)? })
    }

    /// The same, for one that acknowledges what it gets.
    pub(crate) fn start_acking(server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Self> {
        Self::begin_with(Work { ack: true, ..work(server, hold, join, cores)? })
    }

    fn begin_with(work: Work) -> Result<Self> {
        Ok(Self(Clients::start(ROLE, &work, 1)?))
    }

    /// Waits until it has logged in. Tells how many connections it holds, one at least.
    pub(crate) fn logged_in(&mut self) -> Result<u64> {
        self.0.some_logged_in()
    }

    /// The same with everything it has to say.
    pub(crate) fn logins(&mut self) -> Result<Logins> {
        self.0.logged_in()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pids().next().unwrap_or_default()
    }

    /// Starts a turn.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.0.begin()
    }

    /// Waits until so much has arrived since it began, or for this time.
    pub(crate) fn arrived(&mut self, expected: u64, within: Duration) -> Result<()> {
        self.0.arrived(expected, within)?;
        Ok(())
    }

    /// Ends it when so much has arrived, or after this time.
    pub(crate) fn end(&mut self, expected: u64, within: Duration) -> Result<Report> {
        self.0.arrived(expected, within)?;
        self.0.end()
    }
}

fn work(server: &str, hold: usize, join: Option<&str>, cores: Cores) -> Result<Work> {
    let urls =
        server.split(',').map(|server| format!("ws://{server}/ws").parse()).collect::<std::result::Result<_, _>>()?;
    let join = join.map(|groups| groups.split(',').map(str::to_owned).collect()).unwrap_or_default();
    Ok(Work { core: cores.client, join, ..Work::new(urls, hold) })
}
