//! The parent's side of load clients: starts them, tells them when a turn begins and ends, adds up what they say.

use std::time::Duration;

use serde_json::Value;

use super::{LOGINS, Work};
use crate::bench::child::Child;
use crate::bench::report::{Logins, Report};
use crate::bench::{Result, clock};

/// How long a load client may take to answer. It may have millions of frames to read first.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two looks whether everything has arrived.
const LOOK: Duration = Duration::from_millis(20);
/// What comes twice may come after everything came once.
const LINGER: Duration = Duration::from_millis(200);

/// Load clients, each a process.
#[derive(Debug)]
pub struct Clients {
    children: Vec<Child>,
}

/// What has arrived so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages, each counted once.
    pub arrived: u64,
    /// Connections that ended.
    pub ended: u64,
    /// Connections that are in.
    pub ready: u64,
}

impl Clients {
    /// Starts so many, who share the connections. `role` are the words of the hidden subcommand of this binary that is
    /// one. They log in at once; [`Clients::logged_in`] waits for it.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(role: &[&str], work: &Work, count: usize) -> Result<Self> {
        let count = count.clamp(1, work.hold.max(1));
        let start = |nth: usize| {
            let (from, to) = (work.hold * nth / count, work.hold * (nth + 1) / count);
            let share = Work { first: work.first + from, hold: to - from, ..work.clone() };
            Child::start(role, work.core, &share.arguments())
        };
        Ok(Self { children: (0..count).map(start).collect::<Result<_>>()? })
    }

    /// Waits until all connections are in, or one could not be opened.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn logged_in(&mut self) -> Result<Logins> {
        let mut logins = Logins::default();
        for child in &mut self.children {
            logins = logins.and(serde_json::from_value(child.hear(LOGINS + LINGER)?)?);
        }
        Ok(logins)
    }

    /// The same where nobody being there is an error. Tells how many connections there are.
    ///
    /// # Errors
    /// Nobody could connect.
    pub fn some_logged_in(&mut self) -> Result<u64> {
        let logins = self.logged_in()?;
        match logins.connected {
            0 => Err(format!("nobody could connect: {}", logins.trouble.unwrap_or_default()).into()),
            connected => Ok(connected),
        }
    }

    /// Their process ids.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(Child::pid)
    }

    /// Starts a turn: what is counted begins with nothing.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn begin(&mut self) -> Result<()> {
        self.ask("begin").map(drop)
    }

    /// Tells what has arrived so far.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn count(&mut self) -> Result<Count> {
        let mut all = Count::default();
        for count in self.ask("count")? {
            let number = |key: &str| count[key].as_u64().unwrap_or(0);
            all.arrived += number("arrived");
            all.ended += number("ended");
            all.ready += number("ready");
        }
        Ok(all)
    }

    /// Waits until so many messages have arrived, or for the deadline, and a little more: what comes twice may come later.
    /// Tells when, on the monotonic clock, to 20 ms.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn arrived(&mut self, expected: u64, within: Duration) -> Result<u64> {
        let deadline = clock::deadline(within);
        while self.count()?.arrived < expected && clock::now() < deadline {
            clock::sleep(LOOK);
        }
        let arrived = clock::now();
        clock::sleep(LINGER);
        Ok(arrived)
    }

    /// Ends a turn. Tells what was counted in it.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn end(&mut self) -> Result<Report> {
        let mut report = Report::default();
        for said in self.ask("end")? {
            report = report.and(serde_json::from_value(said)?);
        }
        Ok(report)
    }

    /// Has connections cut, by each load client one every so often, all in turn. They come back.
    ///
    /// # Errors
    /// A load client ended or says nothing.
    pub fn cut(&mut self, every: Duration) -> Result<()> {
        self.ask(&format!("cut {}", every.as_nanos())).map(drop)
    }

    /// Has no more connections cut, and waits until so many are in.
    ///
    /// # Errors
    /// They are not, in time.
    pub fn spare(&mut self, connections: u64, within: Duration) -> Result<()> {
        self.ask("spare")?;
        let deadline = clock::deadline(within);
        while self.count()?.ready < connections {
            if clock::now() > deadline {
                return Err("connections that were cut did not come back".into());
            }
            clock::sleep(LOOK);
        }
        Ok(())
    }

    /// All of them at once, then their answers.
    fn ask(&mut self, command: &str) -> Result<Vec<Value>> {
        self.children.iter_mut().try_for_each(|child| child.tell(command))?;
        self.children.iter_mut().map(|child| child.hear(ANSWER)).collect()
    }
}
