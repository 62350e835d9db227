//! What a process may be told and asked from outside: its core, its open files, its memory, its CPU time.

use std::fs;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::Result;

/// Memory of a process, in bytes, from `/proc/<pid>/smaps_rollup`: unlike `VmRSS` in `status`, which the kernel
/// counts in batches per thread, these are sums over the pages themselves.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident pages, shared ones too.
    pub rss: u64,
    /// Those of them that are no file: heap and stacks.
    pub anonymous: u64,
}

/// Raises the soft limit of open files to the hard one. Children inherit it. Returns the limit.
///
/// # Errors
/// The kernel's.
pub fn raise_open_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Keeps this thread, and those it starts, on one core. `None`: wherever the kernel likes.
///
/// # Errors
/// There is no such core, or it may not be used.
pub fn pin(core: Option<usize>) -> Result<()> {
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
    }
    Ok(())
}

/// Asks the kernel to end this process when its parent ends, however that happens.
///
/// # Errors
/// The kernel's.
pub fn end_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Reads the memory of a process.
///
/// # Errors
/// It is gone, or somebody else's.
pub fn memory(pid: u32) -> Result<Memory> {
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
pub struct Cpu {
    /// In the program itself. The rest is the kernel's work for it.
    pub user: f64,
    /// All of it.
    pub total: f64,
}

impl Cpu {
    /// What was spent since an earlier reading.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, total: self.total - before.total }
    }
}

/// Reads the CPU time of a process.
///
/// # Errors
/// It is gone.
pub fn cpu(pid: u32) -> Result<Cpu> {
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
///
/// # Errors
/// `/proc` is not there.
pub fn machine_busy_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<u64> =
        first.split_whitespace().skip(1).take(8).map(str::parse).collect::<std::result::Result<_, _>>()?;
    let busy = ticks.iter().sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The processes that a name or a number means: the number is a process id, the name that of programs that run.
///
/// # Errors
/// There is none.
pub fn named(name: &str) -> Result<Vec<u32>> {
    if let Ok(pid) = name.parse() {
        cpu(pid).map_err(|_| format!("no process {pid} is running"))?;
        return Ok(vec![pid]);
    }
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid != std::process::id() && program(pid).is_some_and(|program| program == name) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    match pids.is_empty() {
        true => Err(format!("no process named {name} is running on this machine").into()),
        false => Ok(pids),
    }
}

/// The file name of the program that a process runs. The kernel's own short name is cut off after 15 bytes.
fn program(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|&byte| byte == 0).next()?;
    // Some write more than their path there, such as an address.
    let first = String::from_utf8_lossy(first);
    let path = first.split(' ').next()?;
    Some(path.rsplit('/').next()?.to_owned())
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

    #[test]
    fn processes_are_found_by_name_and_by_number() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = sleeper.id();
        // Until it has become another program it has the name of this one.
        while program(pid).as_deref() != Some("sleep") {
            std::thread::yield_now();
        }
        assert!(named("sleep").unwrap().contains(&pid));
        assert_eq!(named(&pid.to_string()).unwrap(), [pid]);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let error = named("no-such-program").unwrap_err().to_string();
        assert_eq!(error, "no process named no-such-program is running on this machine");
    }
}
