//! Taking a message back: out of the queue, or out of one user's mailbox.
//!
//! Owns the receipts of what was taken out of the queue. That a message left a mailbox its user sees as a gap.

use std::sync::Arc;

use gim_proto::{Entry, Fields, MessageId, Target, Uid};
use gim_proxy_sdk::Error;
use gim_proxy_sdk::ledger::{Receipt, ReceiptState};
use gim_proxy_sdk::queue::Cancelled;

use crate::core::Core;

/// Takes a message back; `uid`: out of this user's mailbox.
pub(crate) async fn cancel(core: &Arc<Core>, id: &MessageId, uid: Option<&Uid>) -> Result<Cancelled, Error> {
    if let Some(uid) = uid {
        let was_there = core.mailboxes.cancel(uid, id).await.map_err(|error| {
            Error::with_source(gim_proxy_sdk::ErrorKind::Unavailable, "the mailbox does not answer", error)
        })?;
        return Ok(if was_there { Cancelled::Done(Vec::new()) } else { Cancelled::Unknown });
    }
    let cancelled = core.queue.cancel(id).await.map_err(Error::from)?;
    if let Cancelled::Done(entries) = &cancelled {
        let receipts: Vec<Receipt> = entries.iter().flat_map(|fields| receipts(core, id, fields)).collect();
        if !receipts.is_empty()
            && let Err(error) = core.ledger.receipts(&receipts).await
        {
            // It is taken back: that cannot be undone for want of a receipt.
            tracing::warn!(message_id = %id, %error, "a cancelled message has no receipt");
        }
    }
    Ok(cancelled)
}

fn receipts(core: &Core, id: &MessageId, fields: &Fields) -> Vec<Receipt> {
    let Ok(entry) = Entry::decode(fields) else { return Vec::new() };
    if !entry.receipt {
        return Vec::new();
    }
    let receipt = |target: &str| Receipt {
        id: id.clone(),
        target: target.into(),
        state: ReceiptState::Cancelled,
        reason: None,
        node: core.node().id.as_str().into(),
        at_ms: core.clock.unix_ms(),
    };
    match &entry.target {
        Target::User(uid) | Target::GroupUser { uid, .. } | Target::GroupsUser { uid, .. } => {
            vec![receipt(uid.as_str())]
        }
        Target::Users(uids) => uids.iter().map(|uid| receipt(uid.as_str())).collect(),
        Target::Group(tgid) => vec![receipt(tgid.as_str())],
        Target::Groups(tgids) => tgids.iter().map(|tgid| receipt(tgid.as_str())).collect(),
        Target::All => vec![receipt("all")],
    }
}
