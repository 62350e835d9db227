//! Section `node`: the name of this process, where others reach it, the threads it runs on.

use gim_proto::NodeId;
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, within};
use super::optional;

/// This process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Its name, which must differ from every other node's. None: `<host>-<port>`, see [`NodeSection::name`].
    #[serde(with = "id")]
    pub id: Option<NodeId>,
    /// Worker threads, at most 1,024. 0: one per core.
    pub threads: usize,
    /// Where other nodes, workers and services reach the RPC listener, `host:port`. Must be set in mode `cluster`.
    #[serde(with = "optional")]
    pub advertise_rpc: Option<String>,
    /// Where clients reach the public listener, `host:port`, for people who look at `/sysinfo`. None: its address.
    #[serde(with = "optional")]
    pub advertise_public: Option<String>,
}

impl NodeSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("node.threads", self.threads, 0..=1_024)?;
        check_address("node.advertise_rpc", self.advertise_rpc.as_deref())?;
        check_address("node.advertise_public", self.advertise_public.as_deref())
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

/// The longest name of a host, and a port.
const MOST_ADDRESS: usize = 253 + 6;

fn check_address(key: &'static str, address: Option<&str>) -> Result<(), Invalid> {
    let Some(address) = address else { return Ok(()) };
    let fits = address.rsplit_once(':').is_some_and(|(host, port)| {
        let host_fits =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@?#".contains(&byte));
        host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if fits && address.len() <= MOST_ADDRESS {
        return Ok(());
    }
    Err(Invalid::new(key, "must be host:port, as others reach it, such as \"10.0.0.7:8091\""))
}

/// The name as text, with an error that says how one looks.
mod id {
    use gim_proto::NodeId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::optional;

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
