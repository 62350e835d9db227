//! When each message is sent and to whom: so many every millisecond, to users drawn at random, the same in every turn.

use std::io::Write;

use ::redis::{Value, pipe};
pub(crate) use gim_proxy_sdk::bench::feed::Class;
use gim_proxy_sdk::bench::pace::{Draw, Schedule};

use crate::args::Settings;
use crate::child::Child;
use crate::redis::Redis;
use crate::{Result, load, message};

pub(crate) struct Pace {
    draw: Draw,
    form: Form,
    per_second: u64,
}

/// What messages look like.
#[derive(Clone, Copy)]
struct Form {
    payload: usize,
    ids: bool,
    class: Class,
}

/// Where messages go.
pub(crate) enum Sink<'a> {
    /// Lines for the floor.
    Lines(&'a mut Child),
    /// Entries on the queue.
    Stream(&'a mut Redis),
}

struct Message {
    user: usize,
    number: u64,
    due: u64,
    /// Its place among those of its millisecond.
    nth: u64,
}

impl Pace {
    pub(crate) fn new(users: u64, settings: &Settings) -> Self {
        let users = usize::try_from(users).unwrap_or(usize::MAX);
        let Settings { payload, unicast_ids: ids, unicast_rate: per_second, .. } = *settings;
        let form = Form { payload, ids, class: Class::Live };
        Self { draw: Draw::new(0, users), form, per_second }
    }

    /// Sends messages of another class, so many a second.
    pub(crate) const fn of(mut self, class: Class, per_second: u64) -> Self {
        self.form.class = class;
        self.per_second = per_second;
        self
    }

    /// Sends what is due at each moment in one write.
    pub(crate) fn send(&mut self, messages: u64, mut sink: Sink<'_>) -> Result<()> {
        let mut left = messages;
        let mut schedule = Schedule::new(self.per_second);
        while left > 0 {
            let due = schedule.wait(left);
            // Stamped with when they were due, each with a time of its own for its id.
            let batch: Vec<Message> = (0..due.count).map(|nth| self.message(due.due, nth)).collect();
            sink.put(&batch, self.form)?;
            left -= due.count;
        }
        Ok(())
    }

    fn message(&mut self, tick: u64, nth: u64) -> Message {
        let (user, number) = self.draw.draw();
        Message { user, number, due: tick + nth, nth }
    }
}

impl Sink<'_> {
    fn put(&mut self, batch: &[Message], form: Form) -> Result<()> {
        match self {
            Self::Lines(child) => put_lines(child, batch, form),
            Self::Stream(redis) => put_entries(redis, batch, form),
        }
    }
}

fn put_lines(child: &mut Child, batch: &[Message], form: Form) -> Result<()> {
    let mut lines = Vec::new();
    for Message { user, number, due, nth } in batch {
        let id = if form.ids { message::id(*due) } else { message::id_of_place(*due, *nth) };
        writeln!(lines, "{user} {}", message::envelope(&id, *due, *number, form.payload))?;
    }
    child.write(&lines)
}

fn put_entries(redis: &mut Redis, batch: &[Message], form: Form) -> Result<()> {
    let stream = redis.stream();
    let mut entries = pipe();
    for Message { user, number, due, .. } in batch {
        let add = entries.cmd("XADD").arg(&stream).arg("*").arg("to_uid").arg(load::uid(*user));
        add.arg("data").arg(message::payload(*due, *number, form.payload));
        if form.ids {
            add.arg("id").arg(message::id(*due));
        }
        for (name, value) in form.class.fields() {
            add.arg(name).arg(value);
        }
    }
    redis.pipe::<Vec<Value>>(&entries)?;
    Ok(())
}
