//! What is written down about messages that ask for it: the lane's words, with this process's name and clock.

use std::time::{SystemTime, UNIX_EPOCH};

use gim_proto::{Class, MessageId, Uid};
use gim_proxy_sdk::delivery::{Delivery, Recipients};
use gim_proxy_sdk::directory::NodeRef;
use gim_proxy_sdk::ledger::{Hop, Receipt, ReceiptState};
use gim_proxy_sdk::mailbox::Position;

use super::Driver;
use crate::lane::{Mark, Told};
use crate::observe::Event;
use crate::route::Trims;

impl Driver {
    /// Takes the outcomes that have to be written before the settlements that the lane hands over now.
    pub(super) fn receipts(&mut self) -> Vec<Receipt> {
        let told = self.lane.take_told();
        if told.is_empty() {
            return Vec::new();
        }
        let (node, at_ms) = (self.context.name.as_str(), self.context.clock.unix_ms());
        let receipt = |Told { id, target, state, reason }| Receipt {
            id,
            target,
            state,
            reason: reason.map(Box::from),
            node: node.into(),
            at_ms,
        };
        told.into_iter().map(receipt).collect()
    }

    /// Notes the steps of the lane.
    pub(super) fn note_marks(&mut self) {
        let marks = self.lane.take_marks();
        self.note(marks);
    }

    /// Notes which users have a message in the mailbox.
    pub(super) fn note_stored(&self, stored: Vec<(MessageId, Uid, Position)>) {
        let mark = |(id, uid, at): (MessageId, Uid, Position)| {
            let detail = Some(format!("offset {}", at.offset).into());
            Mark { id, hop: "stored", target: Some(uid.as_str().into()), detail }
        };
        self.note(stored.into_iter().map(mark).collect());
    }

    /// Has it written what went to make room, before anything is settled that needed it. What is tried again names it again:
    /// that it is noted or written is enough.
    pub(super) fn note_trims(&mut self, trims: Trims) {
        if trims.untold > 0 {
            self.context.record(&Event::ReceiptsUntold { receipts: trims.untold });
        }
        let (node, at_ms) = (self.context.name.as_str(), self.context.clock.unix_ms());
        let receipt = |(uid, id): (Uid, MessageId)| Receipt {
            id,
            target: uid.as_str().into(),
            state: ReceiptState::Trimmed,
            reason: Some("full".into()),
            node: node.into(),
            at_ms,
        };
        let anew = trims.named.into_iter().filter(|trim| self.noted.add(trim));
        let receipts = anew.map(receipt).collect();
        self.settling.add(Vec::new(), receipts);
    }

    /// Notes what is sent to a node.
    pub(super) fn note_routed(&self, node: &NodeRef, deliveries: &[Delivery]) {
        let marks = deliveries.iter().filter(|delivery| delivery.message.traced).map(|delivery| {
            let target = match &delivery.to {
                Recipients::Groups(_) | Recipients::All => None,
                to => to.addressed().first().filter(|_| to.addressed().len() == 1).map(|to| to.uid.as_str().into()),
            };
            let word = if delivery.message.class == Class::Durable { "told to" } else { "to" };
            let detail = Some(format!("{word} {}", node.id).into());
            Mark { id: delivery.message.id.clone(), hop: "routed", target, detail }
        });
        self.note(marks.collect());
    }

    fn note(&self, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let node = self.context.name.as_str();
        let hop =
            |Mark { id, hop, target, detail }| Hop { id, hop: hop.into(), target, detail, node: node.into(), at_us };
        self.context.ledger.note(marks.into_iter().map(hop).collect());
    }
}
