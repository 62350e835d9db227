//! One wait of an event loop.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

use super::{Result, clock};

/// Waits until something happened, or until a deadline of the monotonic clock. Fills `events`, which must be empty.
///
/// # Errors
/// The kernel's.
pub fn wait(epoll: &OwnedFd, events: &mut Vec<Event>, deadline: Option<u64>) -> Result<()> {
    loop {
        match epoll::wait(epoll, spare_capacity(events), deadline.map(clock::remaining).as_ref()) {
            // A debugger or profiler that attaches interrupts the call.
            Err(Errno::INTR) => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
}
