//! The ledger's entries as they are on the wire: names and values in their order (docs/wire.md, section 7).

use gim_proto::MessageId;

use super::{Hop, Presence, Receipt};

/// Names and values of one entry.
pub(super) type Flat = Vec<(Box<str>, Box<str>)>;

/// Text of a hop for people, in bytes at most.
const MOST_DETAIL: usize = 512;

impl Receipt {
    pub(super) fn fields(&self) -> Flat {
        let mut flat = Vec::with_capacity(6);
        flat.push(("id".into(), self.id.as_str().into()));
        flat.push(("target".into(), self.target.clone()));
        flat.push(("state".into(), self.state.as_str().into()));
        flat.extend(self.reason.clone().map(|reason| ("reason".into(), reason)));
        flat.push(("node".into(), self.node.clone()));
        flat.push(("at_ms".into(), self.at_ms.to_string().into()));
        flat
    }
}

impl Presence {
    pub(super) fn fields(&self) -> Flat {
        let state = if self.is_online { "online" } else { "offline" };
        vec![
            ("uid".into(), self.uid.as_str().into()),
            ("state".into(), state.into()),
            ("fence".into(), self.fence.to_string().into()),
            ("node".into(), self.node.as_str().into()),
            ("session".into(), self.session.to_string().into()),
            ("reason".into(), self.reason.clone()),
            ("at_ms".into(), self.at_ms.to_string().into()),
        ]
    }
}

impl Hop {
    /// Tells its fields. The message is in the journey's key.
    pub(super) fn fields(&self) -> Flat {
        let mut flat = Vec::with_capacity(5);
        flat.push(("hop".into(), self.hop.clone()));
        flat.extend(self.target.clone().map(|target| ("target".into(), target)));
        flat.extend(self.detail.as_deref().map(|detail| ("detail".into(), shorten(detail).into())));
        flat.push(("node".into(), self.node.clone()));
        flat.push(("at_us".into(), self.at_us.to_string().into()));
        flat
    }

    /// Reads it off its fields. Unknown ones are passed over. None: it is no hop.
    pub(super) fn read(id: &MessageId, flat: &[(Box<str>, Box<str>)]) -> Option<Self> {
        let field = |name: &str| flat.iter().find(|(known, _)| &**known == name).map(|(_, value)| value.clone());
        Some(Self {
            id: id.clone(),
            hop: field("hop")?,
            target: field("target"),
            detail: field("detail"),
            node: field("node")?,
            at_us: field("at_us")?.parse().ok()?,
        })
    }
}

fn shorten(text: &str) -> &str {
    let mut end = text.len().min(MOST_DETAIL);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gim_proto::{Fence, NodeId, SessionId, Uid};

    use super::*;
    use crate::ledger::ReceiptState;

    fn shown(flat: &Flat) -> Vec<String> {
        flat.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn entries_have_the_fields_of_the_wire_in_its_order() {
        let id = MessageId::parse("m-1").unwrap();
        let receipt = Receipt {
            id,
            target: "42".into(),
            state: ReceiptState::NotMember,
            reason: Some("left".into()),
            node: "n".into(),
            at_ms: 7,
        };
        assert_eq!(
            shown(&receipt.fields()),
            ["id=m-1", "target=42", "state=not_member", "reason=left", "node=n", "at_ms=7"]
        );
        let plain = Receipt { reason: None, ..receipt };
        assert_eq!(shown(&plain.fields()), ["id=m-1", "target=42", "state=not_member", "node=n", "at_ms=7"]);
        let presence = Presence {
            uid: Uid::parse("42").unwrap(),
            is_online: false,
            fence: Fence(9),
            node: NodeId::parse("n").unwrap(),
            session: SessionId::parse("01JZ0000000000000000000000").unwrap(),
            reason: "closed".into(),
            at_ms: 8,
        };
        let expected = [
            "uid=42",
            "state=offline",
            "fence=9",
            "node=n",
            "session=01JZ0000000000000000000000",
            "reason=closed",
            "at_ms=8",
        ];
        assert_eq!(shown(&presence.fields()), expected);
    }

    #[test]
    fn a_hop_is_read_as_it_was_written_but_for_endless_detail() {
        let id = MessageId::parse("m-1").unwrap();
        let hop = Hop {
            id: id.clone(),
            hop: "routed".into(),
            target: Some("42".into()),
            detail: Some("to n".into()),
            node: "w".into(),
            at_us: 5,
        };
        assert_eq!(shown(&hop.fields()), ["hop=routed", "target=42", "detail=to n", "node=w", "at_us=5"]);
        assert_eq!(Hop::read(&id, &hop.fields()), Some(hop.clone()));
        let long = Hop { target: None, detail: Some("ü".repeat(1_000).into()), ..hop };
        let read = Hop::read(&id, &long.fields()).unwrap();
        assert_eq!((read.target, read.detail.unwrap().len()), (None, MOST_DETAIL));
        assert_eq!(Hop::read(&id, &[("hop".into(), "routed".into())]), None);
    }
}
