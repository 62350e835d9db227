//! Section `node`: the name of this process and the threads it runs on.

use gim_proto::NodeId;
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, within};

/// This process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Its name, which must differ from every other node's. None: `<host>-<port>`, see [`NodeSection::name`].
    #[serde(with = "id")]
    pub id: Option<NodeId>,
    /// Worker threads, at most 1,024. 0: one per core.
    pub threads: usize,
}

impl NodeSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("node.threads", self.threads, 0..=1_024)
    }

    /// Returns the configured name, or `<host>-<port>`.
    ///
    /// # Errors
    /// When the host's name cannot be part of a node's name; `node.id` must be set then.
    pub fn name(&self, host: &str, port: u16) -> Result<NodeId, Invalid> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        NodeId::parse(&format!("{host}-{port}"))
            .map_err(|_| Invalid::new("node.id", "must be set, the name of this host cannot be used"))
    }
}

/// The name as text, with an error that says how one looks.
mod id {
    use gim_proto::NodeId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::super::optional;

    pub(super) fn serialize<S: Serializer>(id: &Option<NodeId>, serializer: S) -> Result<S::Ok, S::Error> {
        optional::serialize(id, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        let id = NodeId::parse(&text);
        id.map(Some).map_err(|_| D::Error::custom("must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"))
    }
}
