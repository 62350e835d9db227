//! A client's command on the stream.
//!
//! Owns its fields: `id`, `uid`, `session`, `seq`, `cmd`, `data`, `node`, `at_ms`, each as text.

use std::str::FromStr;

use bytes::Bytes;
use gim_proto::{Fields, MessageId, NodeId, SessionId, Uid};

/// A command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Names it, and stays the same whenever it is delivered again.
    pub id: MessageId,
    /// Who sent it.
    pub uid: Uid,
    /// On which session.
    pub session: SessionId,
    /// The client's own number for it. May be empty.
    pub seq: String,
    /// What to do.
    pub cmd: String,
    /// With what: the JSON object that the client sent, its keys in alphabetical order, or `null`.
    pub data: Bytes,
    /// Which node took it.
    pub node: NodeId,
    /// When, Unix milliseconds on that node's clock.
    pub at_ms: u64,
}

impl Command {
    /// Tells its fields, in the order of the wire.
    pub(super) fn fields(&self) -> [(&'static str, Bytes); 8] {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        [
            ("id", text(self.id.as_str())),
            ("uid", text(self.uid.as_str())),
            ("session", self.session.to_string().into()),
            ("seq", text(&self.seq)),
            ("cmd", text(&self.cmd)),
            ("data", self.data.clone()),
            ("node", text(self.node.as_str())),
            ("at_ms", self.at_ms.to_string().into()),
        ]
    }

    /// Reads it off its fields. Unknown ones are passed over. None: it is no command.
    pub(super) fn read(fields: &Fields) -> Option<Self> {
        Some(Self {
            id: parsed(fields, "id")?,
            uid: parsed(fields, "uid")?,
            session: parsed(fields, "session")?,
            seq: parsed(fields, "seq")?,
            cmd: parsed(fields, "cmd")?,
            data: fields.get("data")?.clone(),
            node: parsed(fields, "node")?,
            at_ms: parsed(fields, "at_ms")?,
        })
    }
}

fn parsed<T: FromStr>(fields: &Fields, name: &str) -> Option<T> {
    std::str::from_utf8(fields.get(name)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            id: MessageId::parse("up-1").unwrap(),
            uid: Uid::parse("42").unwrap(),
            session: SessionId::parse("01JZ0000000000000000000000").unwrap(),
            seq: "7".to_owned(),
            cmd: "echo.up".to_owned(),
            data: Bytes::from_static(br#"{"n":1}"#),
            node: NodeId::parse("host-8091").unwrap(),
            at_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn fields_are_those_of_the_wire_in_its_order() {
        let texts = command().fields().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
        let expected = [
            "id=up-1",
            "uid=42",
            "session=01JZ0000000000000000000000",
            "seq=7",
            "cmd=echo.up",
            r#"data={"n":1}"#,
            "node=host-8091",
            "at_ms=1700000000000",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_was_written_is_read_and_what_is_no_command_is_not() {
        let mut fields: Fields = command().fields().into_iter().collect();
        fields.push("later", "unknown");
        assert_eq!(Command::read(&fields), Some(command()));
        fields.set("uid", "no body");
        assert_eq!(Command::read(&fields), None);
        assert_eq!(Command::read(&Fields::new()), None);
    }
}
