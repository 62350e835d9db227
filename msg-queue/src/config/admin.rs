//! Section `admin`: who may use the admin listener.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use super::optional;
use super::secret::Secret;

/// The admin listener's door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// What a caller shows as `Authorization: Bearer ...`. None: nothing is asked, which loopback allows only.
    #[serde(with = "optional")]
    pub token: Option<Secret>,
}

impl AdminSection {
    /// Checks the token's shape.
    ///
    /// # Errors
    /// When it cannot be sent in a header, is too short, or is what `--print-config` shows in its place. The error does
    /// not hold it.
    pub fn validate(&self) -> Result<(), Invalid> {
        match &self.token {
            Some(token) if !fit_for_a_header(token.expose()) => {
                Err(Invalid::new("admin.token", "must be visible ASCII characters, without spaces"))
            }
            Some(token) if token.expose().len() < SHORTEST => Err(Invalid::new(
                "admin.token",
                format!("must be at least {SHORTEST} characters; it guards everything"),
            )),
            _ => Ok(()),
        }
    }

    /// Checks that nobody reaches the listener from outside without a token.
    ///
    /// # Errors
    /// Names `listen.admin`.
    pub fn validate_reach(&self, listen: SocketAddr) -> Result<(), Invalid> {
        if listen.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        let allowed = "must be a loopback address unless admin.token is set";
        Err(Invalid::against("listen.admin", "admin.token", allowed))
    }
}

/// Whoever can reach the listener can try.
const SHORTEST: usize = 16;

fn fit_for_a_header(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
