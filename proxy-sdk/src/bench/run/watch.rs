//! What processes spend: those that were named, the bench itself, and everything else.

use crate::bench::process::{cpu, machine_busy_seconds, memory, named};
use crate::bench::{Result, clock, figures::Server};

/// Processes of one name.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    pids: Vec<u32>,
}

/// The processes to look at.
#[derive(Debug)]
pub(super) struct Watch(Vec<Named>);

/// What was read off at one moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// CPU seconds and bytes, name by name.
    servers: Vec<(f64, u64)>,
    /// CPU seconds of the load side.
    bench: f64,
    busy: f64,
    /// CPU seconds of this very process.
    producer: f64,
    /// Wall clock, in seconds.
    at: f64,
}

impl Watch {
    /// Finds them. A name that stands for nothing is an error: who asks for a figure should not miss it.
    pub(super) fn find(names: &[String]) -> Result<Self> {
        let find = |name: &String| Ok(Named { name: name.clone(), pids: named(name)? });
        Ok(Self(names.iter().map(find).collect::<Result<_>>()?))
    }

    /// Reads them off. `load`: the load clients.
    pub(super) fn read(&self, load: impl Iterator<Item = u32>) -> Result<Reading> {
        let total = |pid: u32| cpu(pid).map(|cpu| cpu.total);
        let of = |named: &Named| -> Result<(f64, u64)> {
            let gone = |_| format!("{} has ended", named.name);
            let spent = named.pids.iter().map(|&pid| total(pid).map_err(gone)).sum::<std::result::Result<f64, _>>()?;
            // Of a process of somebody else only the CPU time may be read.
            let rss = named.pids.iter().filter_map(|&pid| memory(pid).ok()).map(|memory| memory.rss).sum();
            Ok((spent, rss))
        };
        Ok(Reading {
            servers: self.0.iter().map(of).collect::<Result<_>>()?,
            bench: load.map(total).sum::<Result<f64>>()? + total(std::process::id())?,
            busy: machine_busy_seconds()?,
            producer: clock::cpu() as f64 / 1e9,
            at: clock::now() as f64 / 1e9,
        })
    }

    /// What they have spent between two readings, for so many deliveries or logins.
    pub(super) fn between(&self, before: &Reading, after: &Reading, count: u64) -> Vec<Server> {
        let each = self.0.iter().zip(before.servers.iter().zip(&after.servers));
        each.map(|(named, (&(cpu_before, rss_before_bytes), &(cpu_after, rss_after_bytes)))| {
            let cpu_seconds = cpu_after - cpu_before;
            Server {
                name: named.name.clone(),
                pids: named.pids.clone(),
                cpu_seconds,
                cpu_us_each: cpu_seconds * 1e6 / count.max(1) as f64,
                rss_before_bytes,
                rss_after_bytes,
            }
        })
        .collect()
    }
}

impl Reading {
    /// Seconds between both.
    pub(super) fn seconds_since(&self, before: &Self) -> f64 {
        self.at - before.at
    }

    /// The share of a core that the producer used.
    pub(super) fn producer_busy_since(&self, before: &Self) -> f64 {
        (self.producer - before.producer) / self.seconds_since(before).max(f64::MIN_POSITIVE)
    }

    /// CPU seconds of everything but the servers and the bench.
    pub(super) fn others_since(&self, before: &Self) -> f64 {
        let servers = |reading: &Self| reading.servers.iter().map(|(cpu, _)| cpu).sum::<f64>();
        let known = servers(self) - servers(before) + self.bench - before.bench;
        (self.busy - before.busy - known).max(0.0)
    }

    /// CPU seconds of the load clients.
    pub(super) fn load_cpu(&self) -> f64 {
        (self.bench - self.producer).max(0.0)
    }

    /// The same, with the producer as it was when it was done sending: afterwards it waits.
    pub(super) fn with_producer_of(mut self, sending: &Self, before: &Self) -> Self {
        let share = sending.producer_busy_since(before);
        self.producer = before.producer + share * self.seconds_since(before);
        self
    }

    /// Resident memory of all servers together.
    pub(super) fn rss(&self) -> u64 {
        self.servers.iter().map(|(_, rss)| rss).sum()
    }
}
