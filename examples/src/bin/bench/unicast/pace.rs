//! When each message is sent and to whom: so many every millisecond, to users drawn at random, the same in every turn.

use std::io::Write;
use std::time::Duration;

use ::redis::{Value, pipe};

use crate::args::Settings;
use crate::child::Child;
use crate::redis::Redis;
use crate::{Result, clock, load, message};

const MILLISECOND: u64 = 1_000_000;

pub(crate) struct Pace {
    /// Number of the last message to each user.
    sent: Vec<u64>,
    form: Form,
    per_second: u64,
    random: u64,
}

/// What messages look like.
#[derive(Clone, Copy)]
struct Form {
    payload: usize,
    ids: bool,
    class: Class,
}

/// What becomes of a message that cannot be written at once, and whether somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Live,
    Durable,
    DurableWithReceipt,
}

impl Class {
    /// The fields of an entry that say so.
    pub(crate) const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Live => &[],
            Self::Durable => &[("class", "durable")],
            Self::DurableWithReceipt => &[("class", "durable"), ("receipt", "1")],
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Durable => "durable",
            Self::DurableWithReceipt => "durable, receipts",
        }
    }
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
        Self { sent: vec![0; users], form, per_second, random: 0x9E37_79B9_7F4A_7C15 }
    }

    /// Sends messages of another class, so many a second.
    pub(crate) const fn of(mut self, class: Class, per_second: u64) -> Self {
        self.form.class = class;
        self.per_second = per_second;
        self
    }

    pub(crate) fn time_for(&self, messages: u64) -> Duration {
        Duration::from_millis(messages.div_ceil(self.per_tick()))
    }

    /// Sends, as many every millisecond as the rate asks for, in one write.
    pub(crate) fn send(&mut self, messages: u64, mut sink: Sink<'_>) -> Result<()> {
        let mut left = messages;
        let mut tick = clock::now();
        while left > 0 {
            tick += MILLISECOND;
            clock::sleep_until(tick);
            let now = left.min(self.per_tick());
            // Stamped with when they were due, each with a time of its own for its id.
            let batch: Vec<Message> = (0..now).map(|nth| self.draw(tick, nth)).collect();
            sink.put(&batch, self.form)?;
            left -= now;
        }
        Ok(())
    }

    fn per_tick(&self) -> u64 {
        self.per_second.div_ceil(1_000).max(1)
    }

    fn draw(&mut self, tick: u64, nth: u64) -> Message {
        // Marsaglia's xorshift: the quality does not matter, the same sequence in every turn does.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let user = usize::try_from(self.random % self.sent.len() as u64).unwrap_or(0);
        self.sent[user] += 1;
        Message { user, number: self.sent[user], due: tick + nth, nth }
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
