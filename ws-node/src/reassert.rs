//! Telling the directory again what this node holds, after the node took a new incarnation, or another node died.
//!
//! Owns the order: sessions with their groups, then the groups' entries. A session whose uid went to somebody else
//! meanwhile ends. Never decides who owns a uid.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use gim_proto::Uid;
use gim_proto::codes::CloseCode;
use gim_proxy_sdk::directory::{DirectoryError, DirectoryErrorKind, Freshness, Held, Owner};
use tokio::time::{Duration, sleep};

use crate::core::Core;
use crate::hub::{Group, Users};
use crate::session::Session;

/// Sessions recorded in one call.
const BATCH: usize = 500;
/// Times a session is recorded again because its groups have changed meanwhile. Who joins and leaves all the time has the
/// rest of it wrong until the next join.
const ROUNDS: usize = 5;
/// Pause between two tries of what the directory did not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// Groups recorded side by side.
const SIDE_BY_SIDE: usize = 64;

/// Records everything this node holds under its present incarnation.
///
/// # Errors
/// The directory did not answer. Doing it again does no harm.
pub(crate) async fn everything(core: &Core) -> Result<(), DirectoryError> {
    let mut sessions = 0;
    for shard in 0..Users::SHARDS {
        // A session whose claim is granted from here on compares incarnations itself.
        let held: Vec<Session> = core.hub.users.shard(shard).into_iter().filter(Session::is_owner).collect();
        for batch in held.chunks(BATCH) {
            these(core, batch).await?;
            sessions += batch.len();
        }
    }
    let groups = core.hub.groups.all();
    let count = groups.len();
    let announced = stream::iter(groups)
        .map(Ok)
        .try_for_each_concurrent(SIDE_BY_SIDE, |group| async move { announce_again(core, &group).await });
    announced.await?;
    // Without anything to record nothing was asked yet, and who logs in next meets whatever is wrong.
    core.directory.reach().await?;
    tracing::info!(sessions, groups = count, "everything held is recorded under the new incarnation");
    Ok(())
}

/// Has every session that was handed something ask whether its mailbox still has it: the store may have come back without.
pub(crate) async fn mailboxes(core: &Core) {
    for shard in 0..Users::SHARDS {
        for session in core.hub.users.shard(shard).iter().filter(|session| session.is_beyond_start()) {
            session.doubt_mailbox();
            tokio::task::coop::consume_budget().await;
        }
    }
}

/// Looks whether the directory still names the sessions of this node, and records anew or ends those it does not: whoever
/// superseded one may have died before this node could be told.
///
/// # Errors
/// The directory did not answer. Doing it again does no harm.
pub(crate) async fn compare(core: &Core) -> Result<(), DirectoryError> {
    for shard in 0..Users::SHARDS {
        let held: Vec<Session> = core.hub.users.shard(shard).into_iter().filter(Session::is_owner).collect();
        for batch in held.chunks(BATCH) {
            let uids: Vec<Uid> = batch.iter().map(|session| session.uid().clone()).collect();
            let owners = core.directory.lookup(&uids, Freshness::Current).await?;
            let is_named = |owner: &Option<Owner>, session: &Session| {
                owner.as_ref().is_some_and(|owner| owner.session == session.id())
            };
            let others = batch.iter().zip(&owners).filter(|(session, owner)| !is_named(owner, session));
            let others: Vec<Session> = others.map(|(session, _)| session.clone()).collect();
            if !others.is_empty() {
                these(core, &others).await?;
            }
        }
    }
    Ok(())
}

/// What is not a group's entry stops its own group and nobody else: everybody waits for the rest of this.
async fn announce_again(core: &Core, group: &Group) -> Result<(), DirectoryError> {
    match group.announce_again(core).await {
        Err(error) if error.kind == DirectoryErrorKind::Corrupt => {
            tracing::error!(tgid = %group.tgid, "the group's entry is not what this version writes; it is not announced");
            Ok(())
        }
        announced => announced,
    }
}

/// Records sessions under the present incarnation. One that has lost its uid is closed.
pub(crate) async fn these(core: &Core, sessions: &[Session]) -> Result<(), DirectoryError> {
    let mut rest = sessions.to_vec();
    for _ in 0..ROUNDS {
        let held: Vec<Held> = rest.iter().map(held).collect();
        let kept = core.directory.reassert(&core.node(), &held).await?;
        let mut moved = Vec::new();
        for ((session, held), kept) in rest.iter().zip(&held).zip(kept) {
            if !kept {
                session.close(CloseCode::Fenced, "another connection has the user by now");
            } else if session.is_closing() {
                // It may have been released before it was recorded: nobody else would release it again.
                core.release(session).await;
            } else if session.groups() != held.groups {
                moved.push(session.clone());
            }
        }
        rest = moved;
        if rest.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Records a session until it is, in the background, as long as it lives.
pub(crate) fn until_done(core: &Arc<Core>, session: &Session) {
    let (core, session) = (Arc::clone(core), session.clone());
    core.sessions.spawn({
        let core = Arc::clone(&core);
        async move {
            while let Err(error) = these(&core, std::slice::from_ref(&session)).await {
                tracing::warn!(uid = %session.uid(), error = %error, "the session is not recorded yet");
                if session.is_closing() {
                    return;
                }
                sleep(AGAIN).await;
            }
        }
    });
}

fn held(session: &Session) -> Held {
    Held { uid: session.uid().clone(), session: session.id(), fence: session.fence(), groups: session.groups() }
}
