//! Reading what is new, which waits until there is something.
//!
//! A read that has begun is never dropped while its connection lives on: Redis would hand out entries to nobody. Its end
//! before its time is asked for ([`super::wake`]), and one that does not answer takes its connection with it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;
use gim_proxy_sdk::store::StoreError;
use gim_proxy_sdk::store::wire::{Command, Part, Reply, Wire};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep_until};

use super::behind;
use super::connection::Connection;
use super::decode::Read;
use super::fetch::Reader;
use super::reply;
use super::ride::Rider;
use super::shared::Shared;
use super::trouble::{Trouble, unanswered};
use crate::clock::Clock;
use crate::source::Room;

impl Reader {
    /// Makes the consumer group if it may be missing.
    pub(super) async fn make_group(&mut self, shared: &Shared) -> Result<(), Trouble> {
        if !self.chores.group {
            return Ok(());
        }
        // Before the group is made: that makes the stream too.
        behind::look(shared).await?;
        let mut make = ::redis::cmd("XGROUP");
        make.arg("CREATE").arg(&shared.names.stream).arg("gim").arg("0").arg("MKSTREAM");
        match shared.link.query::<Value>(&make).await {
            Err(error) if !error.is("BUSYGROUP") => return Err(error.into()),
            _ => self.chores.group = false,
        }
        Ok(())
    }

    /// Reads what is new. Waits for it once.
    pub(super) async fn fresh(&mut self, shared: &Arc<Shared>, room: Room) -> Result<Vec<Read>, Trouble> {
        // Taken out: a read that is dropped or fails drops the connection, and the next one drains.
        let Some(mut connection) = self.connection.take() else { return Ok(Vec::new()) };
        let count = (room.bytes / self.average).clamp(1, room.entries);
        let (first, second) = connection.read(shared, count).await?;
        let replies = std::iter::once(first).chain(second).map(Reply::ok);
        let replies: SmallVec<[Reply; 2]> = replies.collect::<Result<_, _>>()?;
        let read = reply::entries(shared, &replies)?;
        self.connection = Some(connection);
        self.learn_size(&read);
        behind::note(shared, &read);
        Ok(read)
    }

    // Up at once and down by half: a read may be twice as large as the one before.
    fn learn_size(&mut self, read: &[Read]) {
        let bytes: usize = read.iter().map(|read| read.fetched.size).sum();
        if let Some(mean) = bytes.checked_div(read.len()) {
            self.average = mean.max((self.average + mean) / 2).max(1);
        }
    }
}

/// Who has waited less than this for something new expects more to come as soon.
const STEADY: Duration = Duration::from_millis(3);
/// How long something new is waited for while a settlement waits with it. Redis may take 100 ms longer.
const WITH_RIDER: Duration = Duration::from_millis(5);

/// Bytes of one write for which there is room at first: two reads, and a settlement of some thirty entries.
const WRITE: usize = 2 << 10;

/// The answers to a wait for what is new, and to a look at what has come with it.
type Answers = (Reply, Option<Reply>);

impl Connection {
    /// Waits for what is new. Redis answers as soon as there is one entry, and takes up what stands behind that command only
    /// after all that it had been sent by then: a second read brings, in the same answer, what came with the first entry.
    async fn read(&mut self, shared: &Arc<Shared>, count: usize) -> Result<Answers, Trouble> {
        let waiting = shared.wake.waiting(self.id.client);
        let due = shared.wake.due_ms().map(|due_ms| due_ms.saturating_sub(shared.clock.unix_ms()).max(1));
        let due = due.map(Duration::from_millis).filter(|due| *due < shared.block);
        let block = (!shared.wake.is_stopping()).then(|| due.unwrap_or(shared.block));
        // What is to be settled goes ahead of it: behind it, it would wait as long as the read does. But while there is always
        // something new at once, it goes behind: its answer then comes with that, and wakes nobody by itself.
        let rider = shared.ride.take();
        let (ahead, behind) = if self.is_steady && block.is_some() { (None, rider) } else { (rider, None) };
        let block = if behind.is_some() { block.map(|block| block.min(WITH_RIDER)) } else { block };
        let mut commands = Vec::with_capacity(WRITE);
        ahead.iter().for_each(|rider| rider.command.write(&mut commands));
        let second = if block.is_some() { count / 2 } else { 0 };
        command(&shared.names.stream, count - second, block).write(&mut commands);
        behind.iter().for_each(|rider| rider.command.write(&mut commands));
        if second > 0 {
            command(&shared.names.stream, second, None).write(&mut commands);
        }
        let sent = Sent { commands: &commands, ahead, behind, is_two: second > 0 };
        let answers = self.bounded(shared, sent, block.unwrap_or_default(), due).await;
        drop(waiting);
        answers
    }

    async fn bounded(
        &mut self,
        shared: &Arc<Shared>,
        sent: Sent<'_>,
        block: Duration,
        due: Option<Duration>,
    ) -> Result<Answers, Trouble> {
        let now = Instant::now();
        let Self { wire, is_steady, .. } = self;
        let mut read = pin!(sent.exchange(wire, is_steady));
        let mut late = pin!(sleep_until(now + block + shared.store.options().deadline()));
        // Redis ends a wait up to 100 ms late: a schedule is not.
        let mut alarm = pin!(sleep_until(now + due.unwrap_or_default()));
        let mut is_set = due.is_some();
        loop {
            tokio::select! {
                biased;
                answer = &mut read => return answer.map_err(Trouble::from),
                () = &mut late => return Err(unanswered()),
                () = &mut alarm, if is_set => {
                    is_set = false;
                    shared.ring();
                }
            }
        }
    }
}

/// What goes in one write: two reads, and a settlement ahead of the first or behind it.
struct Sent<'a> {
    commands: &'a [u8],
    ahead: Option<Rider>,
    behind: Option<Rider>,
    is_two: bool,
}

impl Sent<'_> {
    /// Settles, if something is to be, and reads.
    async fn exchange(self, wire: &mut Wire, is_steady: &mut bool) -> Result<Answers, StoreError> {
        let Self { commands, ahead, behind, is_two } = self;
        wire.send(commands).await?;
        if let Some(rider) = ahead {
            rider.arrived(wire.receive().await?);
        }
        let begun = Instant::now();
        let first = wire.receive().await?;
        *is_steady = begun.elapsed() < STEADY && matches!(first.parts().next(), Some(Part::List(1..)));
        if let Some(rider) = behind {
            rider.arrived(wire.receive().await?);
        }
        let second = if is_two { Some(wire.receive().await?) } else { None };
        Ok((first, second))
    }
}

fn command(stream: &str, count: usize, block: Option<Duration>) -> Command {
    let mut read = Command::new("XREADGROUP");
    ["GROUP", "gim", "lane", "COUNT"].iter().for_each(|arg| read.arg(arg));
    read.number(count as u64);
    if let Some(block) = block {
        read.arg("BLOCK");
        // 0 would wait for ever.
        read.number(u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1));
    }
    ["STREAMS", stream, ">"].iter().for_each(|arg| read.arg(arg));
    read
}
