//! Where a client stands in its mailbox: what it has, so that it is given the rest and nothing twice.
//!
//! Owns the few rules of it. Whoever keeps a [`Place`] where it survives the client's own end gets each durable message once
//! even then.

use serde_json::{Value, json};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The mailbox' generation, from the welcome. 0: never connected.
    epoch: u64,
    /// The last durable message that was dealt with.
    offset: u64,
}

impl Place {
    /// What the next handshake says. None: nothing yet.
    #[must_use]
    pub fn query(self) -> Option<String> {
        (self.epoch > 0).then(|| format!("&epoch={}&offset={}", self.epoch, self.offset))
    }

    /// Takes note of a frame, once it is dealt with. Returns the data of the acknowledgement that is due for it.
    pub fn take(&mut self, frame: &Value) -> Option<Value> {
        let fields = &frame["response"]["a"];
        match frame["cmd"].as_str() {
            Some("gim.welcome") => self.begin(fields["epoch"].as_u64()?),
            Some("gim.gap") => {
                // A reset begins anew: what was not acknowledged comes again.
                match fields["epoch"].as_u64() {
                    Some(epoch) => *self = Self { epoch, offset: fields["from"].as_u64()?.saturating_sub(1) },
                    None => self.offset = self.offset.max(fields["to"].as_u64()?),
                }
            }
            _ => {
                self.offset = frame["offset"].as_u64()?;
                // With the epoch: one that arrives after a reset must not count for another message.
                return Some(json!({ "offset": self.offset, "epoch": self.epoch }));
            }
        }
        None
    }

    fn begin(&mut self, epoch: u64) {
        if epoch != self.epoch {
            *self = Self { epoch, offset: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(name: &str, fields: Value) -> Value {
        json!({ "seq": "", "cmd": name, "msgType": 4, "response": { "s": 1, "a": fields } })
    }

    #[test]
    fn a_client_asks_for_what_follows_the_last_message_it_dealt_with() {
        let mut place = Place::default();
        assert_eq!(place.query(), None);
        assert_eq!(place.take(&notice("gim.welcome", json!({ "epoch": 7, "offset": 2 }))), None);
        let push =
            json!({ "seq": "", "cmd": "", "msgType": 3, "id": "a", "offset": 1, "response": { "s": 1, "a": {} } });
        assert_eq!(place.take(&push), Some(json!({ "offset": 1, "epoch": 7 })));
        assert_eq!(place.query().unwrap(), "&epoch=7&offset=1");
        let live = json!({ "seq": "", "cmd": "", "msgType": 3, "id": "b", "response": { "s": 1, "a": {} } });
        assert_eq!(place.take(&live), None);
        assert_eq!(place.query().unwrap(), "&epoch=7&offset=1");
    }

    #[test]
    fn what_will_not_come_is_passed_over_and_a_reset_begins_anew() {
        let mut place = Place { epoch: 7, offset: 3 };
        place.take(&notice("gim.gap", json!({ "from": 4, "to": 9, "reason": "trimmed" })));
        assert_eq!(place.query().unwrap(), "&epoch=7&offset=9");
        place.take(&notice("gim.gap", json!({ "from": 3, "to": 4, "reason": "reset", "epoch": 8 })));
        assert_eq!(place.query().unwrap(), "&epoch=8&offset=2");
    }
}
