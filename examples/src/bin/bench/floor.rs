//! The floor of the fan-out: one thread, epoll, one `send()` of pre-encoded bytes per socket. No runtime, no routing, no
//! queue.
//!
//! Owns no rule of the project. Whatever a node does per delivery beyond this is what the ratio shows.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use rustix::time::{timerfd_create, timerfd_settime};
use serde_json::json;

use crate::args::Place;
use crate::child::{Commands, say};
use crate::sockets::{Sockets, Wakes};
use crate::{Result, clock, events, message, process, ws};

struct Floor {
    sockets: Sockets,
    timer: OwnedFd,
    plan: Plan,
}

/// What is left to send, and when.
#[derive(Default)]
struct Plan {
    left: u64,
    next: u64,
    interval: u64,
    payload: usize,
    /// Number of the message sent last.
    number: u64,
}

pub(crate) fn serve(place: &Place) -> Result<()> {
    process::end_with_parent()?;
    process::pin(place.core)?;
    let mut floor = Floor::bind()?;
    say(&json!({ "address": floor.sockets.address()? }))?;
    let mut commands = Commands::default();
    let mut events = Vec::with_capacity(1_024);
    loop {
        events::wait(&floor.sockets.epoll, &mut events, None)?;
        for event in events.drain(..) {
            match Wakes::of(event.data.u64()) {
                Wakes::Listener => floor.sockets.accept()?,
                Wakes::Timer => floor.tick()?,
                Wakes::Commands => match commands.read()? {
                    Some(lines) => lines.iter().try_for_each(|line| floor.obey(line))?,
                    None => return Ok(()),
                },
                Wakes::Connection(index) => floor.sockets.read(index),
            }
        }
    }
}

impl Floor {
    fn bind() -> Result<Self> {
        let sockets = Sockets::bind()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        sockets.watch_timer(&timer)?;
        Ok(Self { sockets, timer, plan: Plan::default() })
    }

    /// `send <messages> <per second> <payload bytes> <messages sent before>`
    fn obey(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["send", messages, rate, payload, number] = words[..] else {
            return Err(format!("the floor does not know {line:?}").into());
        };
        let interval = clock::interval(rate.parse()?);
        let next = clock::now() + interval;
        let (left, payload, number) = (messages.parse()?, payload.parse()?, number.parse()?);
        self.plan = Plan { left, next, interval, payload, number };
        self.arm(next, interval)
    }

    fn arm(&self, first: u64, interval: u64) -> Result<()> {
        let times = Itimerspec { it_interval: clock::timespec(interval), it_value: clock::timespec(first) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &times)?;
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        let mut expirations = [0; 8];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for _ in 0..u64::from_ne_bytes(expirations).min(self.plan.left) {
            self.send();
        }
        if self.plan.left == 0 {
            self.arm(0, 0)?;
            say(&json!({ "sent": self.sockets.sent, "refused": self.sockets.refused }))?;
        }
        Ok(())
    }

    /// The loop that everything is compared with.
    fn send(&mut self) {
        let plan = &mut self.plan;
        plan.number += 1;
        // Stamped with the time it was due, so that lateness of this loop counts as latency.
        let message = message::envelope(&message::id(plan.next), plan.next, plan.number, plan.payload);
        plan.next += plan.interval;
        plan.left -= 1;
        self.sockets.send_to_all(&ws::server_frame(ws::TEXT, message.as_bytes()));
    }
}
