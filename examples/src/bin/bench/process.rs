//! What a process may be told and asked from outside: its core, its open files, its memory, its CPU time.

use std::fs;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;

/// Memory of a process, in bytes, from `/proc/<pid>/smaps_rollup`: unlike `VmRSS` in `status`, which the kernel
/// counts in batches per thread, these are sums over the pages themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) anonymous: u64,
}

/// Raises the soft limit of open files to the hard one. Children inherit it. Returns the limit.
pub(crate) fn raise_open_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Keeps this thread, and those it starts, on one core. `None`: wherever the kernel likes.
pub(crate) fn pin(core: Option<usize>) -> Result<()> {
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
    }
    Ok(())
}

/// Asks the kernel to end this process when its parent ends, however that happens.
pub(crate) fn end_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map(|kib| kib * 1_024)
    };
    match (bytes("Rss:"), bytes("Anonymous:")) {
        (Some(rss), Some(anonymous)) => Ok(Memory { rss, anonymous }),
        _ => Err("smaps_rollup has no Rss or Anonymous line".into()),
    }
}

/// CPU time of all threads of a process, in seconds. Counted in ticks of usually 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// In the program itself. The rest is the kernel's work for it.
    pub(crate) user: f64,
    pub(crate) total: f64,
}

impl Cpu {
    /// What was spent since an earlier reading.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, total: self.total - before.total }
    }
}

pub(crate) fn cpu(pid: u32) -> Result<Cpu> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, spaces too: fields are counted from behind it.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).ok_or("stat has no name")?;
    let mut ticks = fields.skip(11).map(str::parse::<u64>);
    let mut seconds = || -> Result<f64> {
        let ticks = ticks.next().ok_or("stat is too short")??;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    };
    let (user, system) = (seconds()?, seconds()?);
    Ok(Cpu { user, total: user + system })
}

/// Time that all cores together were busy with anything, in seconds since the machine started.
pub(crate) fn machine_busy_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<u64> =
        first.split_whitespace().skip(1).take(8).map(str::parse).collect::<std::result::Result<_, _>>()?;
    let busy = ticks.iter().sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_cpu_time_of_this_very_process_can_be_read() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.rss >= memory.anonymous && memory.anonymous > 0);
        let cpu = cpu(std::process::id()).unwrap();
        assert!(cpu.user >= 0.0 && cpu.total >= cpu.user);
    }
}
