//! The one switch between a toy and a cluster.
//!
//! Owns the word `mode` and why a known mode is refused. Never starts anything: the composition root does.

use serde::{Deserialize, Serialize};

/// What the service stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum Mode {
    /// Directory, queue and worker live in this process; nothing to install.
    #[default]
    Local,
    /// Directory and queue live in Redis; one node, with the worker inside.
    Redis,
}

/// A word that is not a mode of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The mode is planned, and starting as another one would be worse than not starting.
    #[error("this version knows the modes `local` and `redis`; `{0}` is not built yet")]
    NotBuilt(&'static str),
    /// No mode at all.
    #[error("must be `local` or `redis`")]
    Unknown,
}

impl Mode {
    /// Returns the word used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Redis => "redis",
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = ModeError;

    fn try_from(word: String) -> Result<Self, ModeError> {
        match word.as_str() {
            "local" => Ok(Self::Local),
            "redis" => Ok(Self::Redis),
            "cluster" => Err(ModeError::NotBuilt("cluster")),
            _ => Err(ModeError::Unknown),
        }
    }
}

impl From<Mode> for &'static str {
    fn from(mode: Mode) -> Self {
        mode.as_str()
    }
}
