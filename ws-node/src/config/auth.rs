//! Section `auth`: how a client proves who it is.

use serde::{Deserialize, Serialize};

/// Authentication of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// How a client proves its uid.
    pub mode: AuthMode,
}

/// How a client proves its uid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthMode {
    /// Not at all: whoever connects names its uid. Stated loudly at start.
    #[default]
    None,
}
