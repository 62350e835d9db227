//! What a node says of itself in etcd.

use gim_proto::Incarnation;
use serde::{Deserialize, Serialize};

/// The form that this version writes, and the highest that it reads.
const SCHEMA: u32 = 1;

/// What a node says of itself, as JSON at `/<prefix>/nodes/<id>`. Fields that are not known are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// This run of it, or what followed a lost lease.
    pub incarnation: Incarnation,
    /// Where its RPC listener is reached, `host:port`.
    pub rpc: String,
    /// Where clients reach it, `host:port`.
    pub public: String,
    /// Version of the program.
    pub version: String,
    /// When the process started, Unix milliseconds.
    pub started: u64,
    /// The form of all this. Absent: 1.
    #[serde(default = "first")]
    pub schema: u32,
}

const fn first() -> u32 {
    1
}

impl Registration {
    /// Takes what a node of this version says.
    #[must_use]
    pub fn new(
        incarnation: Incarnation,
        rpc: impl Into<String>,
        public: impl Into<String>,
        version: impl Into<String>,
        started: u64,
    ) -> Self {
        Self { incarnation, rpc: rpc.into(), public: public.into(), version: version.into(), started, schema: SCHEMA }
    }

    /// Reads what a node wrote. None: it is something else, or of a later form.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|read: &Self| (1..=SCHEMA).contains(&read.schema))
    }

    /// Whether this one is of another process that started later.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        self.incarnation != other.incarnation && self.started > other.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01K0000000000000000000000A";

    fn text(rest: &str) -> Vec<u8> {
        format!(r#"{{"incarnation":"{ID}","rpc":"a:1","public":"b:2","version":"0.1.0","started":7{rest}}}"#).into()
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let registration = Registration::new(Incarnation::parse(ID).unwrap(), "a:1", "b:2", "0.1.0", 7);
        assert_eq!(serde_json::to_vec(&registration).unwrap(), text(r#","schema":1"#));
        assert_eq!(Registration::read(&text(r#","schema":1"#)), Some(registration));
    }

    #[test]
    fn a_form_without_number_is_the_first_and_fields_of_later_ones_are_passed_over() {
        assert_eq!(Registration::read(&text("")).unwrap().schema, 1);
        assert!(Registration::read(&text(r#","zone":"b""#)).is_some());
    }

    #[test]
    fn a_later_form_and_nonsense_are_not_read() {
        for unreadable in [text(r#","schema":2"#), text(r#","schema":0"#), b"{}".to_vec(), b"\xff".to_vec(), Vec::new()]
        {
            assert_eq!(Registration::read(&unreadable), None);
        }
    }
}
