//! The monotonic clock, which all processes of one machine share: a stamp of one can be compared by another.

use std::time::Duration;

use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};

const SECOND: u64 = 1_000_000_000;

/// CPU time of this very process, all threads, in nanoseconds.
#[must_use]
pub fn cpu() -> u64 {
    nanoseconds_of(clock_gettime(rustix::time::ClockId::ProcessCPUTime))
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> u64 {
    nanoseconds_of(clock_gettime(rustix::time::ClockId::Monotonic))
}

fn nanoseconds_of(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// When a wait that may last this long is over.
#[must_use]
pub fn deadline(within: Duration) -> u64 {
    now() + nanoseconds(within)
}

/// What is left until a deadline, in the form in which the kernel takes timeouts.
#[must_use]
pub fn remaining(deadline: u64) -> Timespec {
    timespec(deadline.saturating_sub(now()))
}

/// Sleeps until a moment of the monotonic clock: unlike a sleep for a duration, ticks do not drift.
pub fn sleep_until(moment: u64) {
    while now() < moment {
        // A signal may end the sleep early, hence the loop.
        let _ = clock_nanosleep_absolute(ClockId::Monotonic, &timespec(moment));
    }
}

/// Sleeps for a duration.
pub fn sleep(time: Duration) {
    sleep_until(deadline(time));
}

/// Nanoseconds in the form in which the kernel takes times.
#[must_use]
pub fn timespec(nanoseconds: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanoseconds % SECOND).unwrap_or(0),
    }
}

/// The time between two messages at a rate per second.
#[must_use]
pub fn interval(rate: u64) -> u64 {
    SECOND / rate.max(1)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// A time up to this, by chance. The quality does not matter.
#[must_use]
pub fn jitter(most: u64) -> u64 {
    // The low digits of the clock, stirred: two calls in a row differ.
    now().wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) % most.max(1)
}
