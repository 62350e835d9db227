//! The one switch between a toy and a cluster.
//!
//! Owns the word `mode`. Never starts anything: the composition root does.

use serde::{Deserialize, Serialize};

/// What the service stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Mode {
    /// Directory, queue and worker live in this process; nothing to install.
    #[default]
    Local,
    /// Directory and queue live in Redis; one node, with the worker inside.
    Redis,
    /// Directory and queue live in Redis; many nodes that etcd tells of each other, and workers beside them.
    Cluster,
}

/// A word that is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `local`, `redis` or `cluster`")]
pub struct ModeError;

impl Mode {
    /// Returns the word used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Redis => "redis",
            Self::Cluster => "cluster",
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = ModeError;

    fn try_from(word: String) -> Result<Self, ModeError> {
        match word.as_str() {
            "local" => Ok(Self::Local),
            "redis" => Ok(Self::Redis),
            "cluster" => Ok(Self::Cluster),
            _ => Err(ModeError),
        }
    }
}

impl From<Mode> for &'static str {
    fn from(mode: Mode) -> Self {
        mode.as_str()
    }
}
