//! What a node writes about itself.
//!
//! Owns the record's form and which forms this version reads. Fields that it does not know are passed over; a record of
//! a newer schema is not read at all, and whoever meets one says so.

use gim_proto::Incarnation;
use serde::{Deserialize, Serialize};

/// The schema that this version writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// What a node writes about itself, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The form of the record. Absent: 1.
    #[serde(default = "first")]
    pub schema: u32,
    /// This run of it, or what followed a lost lease.
    pub incarnation: Incarnation,
    /// As whom its worker owns lanes: the process's first incarnation.
    pub worker: Incarnation,
    /// Where its RPC listener is.
    pub rpc: String,
    /// Where clients reach it.
    pub public: String,
    /// Which machine it runs on, as far as loopback addresses go.
    #[serde(default)]
    pub host: String,
    /// Version of the program.
    pub version: String,
    /// When the process started, Unix milliseconds.
    pub started_ms: u64,
    /// The runs of Redis, by name, in which everything it holds is recorded. None: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asserted: Option<String>,
    /// Dead runs whose place this one has, the last ones: it may not have taken all their lanes yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Incarnation>,
}

/// Why a record is not read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A newer version wrote it.
    #[error("the record has schema {0}, and this version reads up to {SCHEMA}: update it")]
    Newer(u32),
    /// It is no record.
    #[error("the record is not what any version writes: {0}")]
    Corrupt(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Form {
    #[serde(default = "first")]
    schema: u32,
}

const fn first() -> u32 {
    1
}

/// Dead runs that a record names, at most. A lane's lease lasts no longer than a few starts take.
const FOLLOWED: usize = 32;

impl NodeRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// A newer version wrote it, or it is no record.
    pub fn read(text: &[u8]) -> Result<Self, RecordError> {
        let form: Form = serde_json::from_slice(text)?;
        if form.schema > SCHEMA {
            return Err(RecordError::Newer(form.schema));
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// Takes note of a dead run, and of those it followed: one that died at its start had not taken their lanes.
    pub(super) fn follow(&mut self, dead: &Self) {
        for run in dead.after.iter().chain([&dead.worker, &dead.incarnation]) {
            if !self.after.contains(run) {
                self.after.push(*run);
            }
        }
        self.after.drain(..self.after.len().saturating_sub(FOLLOWED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(further: &str) -> String {
        let run = Incarnation::mint();
        format!(
            r#"{{"incarnation":"{run}","worker":"{run}","rpc":"a:1","public":"b:2","version":"0.1","started_ms":7{further}}}"#
        )
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read_and_one_of_a_later_is_told_apart() {
        let old = NodeRecord::read(of("").as_bytes()).unwrap();
        assert_eq!((old.schema, old.asserted, old.after), (1, None, Vec::new()));
        let new = NodeRecord::read(of(r#","schema":1,"asserted":"r","more":[1]"#).as_bytes()).unwrap();
        assert_eq!(new.asserted.as_deref(), Some("r"));
        let newer = NodeRecord::read(br#"{"schema":2,"who":"knows"}"#).unwrap_err();
        assert!(matches!(newer, RecordError::Newer(2)), "{newer}");
        let none = NodeRecord::read(b"{}").unwrap_err();
        assert!(matches!(none, RecordError::Corrupt(_)), "{none}");
    }
}
