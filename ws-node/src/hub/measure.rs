//! A fan-out without its sockets: which connection gets what, and the bytes for it.

use std::sync::Arc;

use gim_proto::frame::{Dialect, MsgType};
use gim_proxy_sdk::delivery::Message;

use super::plans::{EMPTY, PlanId, Plans};
use crate::deflate::Deflate;
use crate::session::Encoding;

/// Connections, and what each is to get.
#[derive(Default)]
pub struct Fan {
    plans: Plans,
    rows: Vec<PlanId>,
    deflates: bool,
}

impl Fan {
    /// Makes one of so many connections.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        Self { plans: Plans::default(), rows: vec![EMPTY; connections], deflates: false }
    }

    /// Has all of them agree on permessage-deflate.
    #[must_use]
    pub const fn deflating(mut self) -> Self {
        self.deflates = true;
        self
    }

    /// Adds a message for every connection whose number is a multiple of `every`.
    pub fn add(&mut self, message: &Arc<Message>, every: usize) {
        let chunk = self.plans.add_chunk(message, MsgType::Group, |key| Arc::from(key));
        for row in self.rows.iter_mut().step_by(every) {
            *row = self.plans.append(*row, chunk);
        }
    }

    /// Makes what each connection gets, as the sockets would be given it, and forgets it. Returns how many bytes.
    pub fn write(&mut self) -> usize {
        let encoding = Encoding { dialect: Dialect::Ws, text: true, deflate: self.deflates };
        let mut bytes = 0;
        for row in &mut self.rows {
            let plan = std::mem::replace(row, EMPTY);
            if plan != EMPTY {
                bytes += self.plans.ready(plan, encoding, &Deflate::uncounted()).joined.len();
                self.plans.leave(plan);
            }
        }
        self.plans.clear();
        bytes
    }
}
