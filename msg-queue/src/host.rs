//! What this process uses of its machine, read from `/proc`, and what the machine is called.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Processor and memory in use.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of all cores, since the call before (at least a second earlier), in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory of the machine's, in percent.
    pub memory_percent: f64,
    /// Cores that the process may use.
    pub cores: usize,
}

struct Sample {
    at: Instant,
    cpu_s: f64,
    percent: f64,
}

static LAST: Mutex<Option<Sample>> = Mutex::new(None);

/// Tells what the process uses now.
#[must_use]
pub fn usage() -> Usage {
    let total = memory_total_bytes().unwrap_or(0);
    let memory_percent = if total == 0 { 0.0 } else { 100.0 * as_f64(resident_bytes()) / as_f64(total) };
    Usage {
        cpu_percent: round(cpu_percent()),
        memory_percent: round(memory_percent),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Tells the resident memory of this process in bytes. 0 where `/proc` does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Tells the machine's name.
#[must_use]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn cpu_percent() -> f64 {
    let Some(cpu_s) = cpu_seconds() else { return 0.0 };
    let now = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match last.as_mut() {
        Some(sample) if now.duration_since(sample.at).as_secs_f64() < 1.0 => sample.percent,
        Some(sample) => {
            let percent = 100.0 * (cpu_s - sample.cpu_s) / now.duration_since(sample.at).as_secs_f64();
            *sample = Sample { at: now, cpu_s, percent };
            percent
        }
        None => {
            *last = Some(Sample { at: now, cpu_s, percent: 0.0 });
            0.0
        }
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(as_f64(ticks) / as_f64(rustix::param::clock_ticks_per_second()))
}

fn memory_total_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1_024)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "percentages need no more than 53 bits")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_uses_some_memory_of_this_machine() {
        let usage = usage();
        assert!(resident_bytes() > 1 << 20);
        assert!(usage.memory_percent > 0.0 && usage.memory_percent < 100.0, "{usage:?}");
        assert!(usage.cores >= 1);
    }
}
