//! Putting dead letters back.
//!
//! Owns the steps: a bounded number of letters is moved by one script, one step after the other. Of all letters only
//! those count that were there when the call began.

use std::sync::LazyLock;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Script, ScriptInvocation};
use gim_proto::EntryId;

use super::Lane;
use crate::queue::{QueueError, QueueErrorKind, Selection};
use crate::store::StoreError;

static REDRIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redrive.lua")));

/// Letters moved at once.
const STEP: usize = 100;

/// What came of one step.
struct Step {
    moved: u64,
    /// The last letter looked at.
    last: Option<EntryId>,
    is_full: bool,
}

impl Lane<'_> {
    /// Moves letters. At the bound of what waits it stops; that is an error only if not one was moved.
    pub(super) async fn redrive(self, which: Selection) -> Result<u64, QueueError> {
        let mut connection = self.connection().await?;
        let (moved, end) = match which {
            Selection::All => self.redrive_all(&mut connection).await,
            Selection::Ids(ids) => self.redrive_some(&mut connection, &ids).await,
        };
        if moved > 0 {
            self.wake(&mut connection).await;
        }
        match end {
            Err(error) if moved == 0 => Err(error),
            Err(error) if error.kind != QueueErrorKind::Full => Err(QueueError::unanswered()),
            _ => Ok(moved),
        }
    }

    async fn redrive_all(&self, connection: &mut MultiplexedConnection) -> (u64, Result<(), QueueError>) {
        let mut moved = 0;
        let end = async {
            let Some(youngest) = self.youngest(connection).await? else { return Ok(()) };
            let mut from = "-".to_owned();
            loop {
                let mut call = self.call("range");
                call.arg(&from).arg(youngest.to_string()).arg(STEP);
                let step = run(connection, &call).await?;
                moved += step.moved;
                match step.last {
                    _ if step.is_full => return Err(QueueError::full("later")),
                    Some(last) if last < youngest => from = format!("({last}"),
                    _ => return Ok(()),
                }
            }
        };
        let end = end.await;
        (moved, end)
    }

    async fn redrive_some(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[EntryId],
    ) -> (u64, Result<(), QueueError>) {
        let mut moved = 0;
        for ids in ids.chunks(STEP) {
            let mut call = self.call("ids");
            call.arg(ids.iter().map(ToString::to_string).collect::<Vec<_>>());
            match run(connection, &call).await {
                Ok(step) => {
                    moved += step.moved;
                    if step.is_full {
                        return (moved, Err(QueueError::full("later")));
                    }
                }
                Err(error) => return (moved, Err(error.into())),
            }
        }
        (moved, Ok(()))
    }

    fn call(&self, which: &str) -> ScriptInvocation<'static> {
        let keys = &self.queue.keys;
        let mut call = REDRIVE.key(keys.dead(self.lane));
        call.key(keys.later(self.lane)).key(keys.later_body(self.lane)).arg(self.queue.later).arg(which);
        call
    }
}

async fn run(connection: &mut MultiplexedConnection, call: &ScriptInvocation<'_>) -> Result<Step, StoreError> {
    let (moved, last, is_full): (u64, String, bool) = call.invoke_async(connection).await?;
    Ok(Step { moved, last: EntryId::parse(&last).ok(), is_full })
}
