//! Section `rpc`: how processes of the service know each other.
//!
//! Owns the token alone. Where calls are listened for is `listen.rpc`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use super::optional;
use super::secret::Secret;

/// Whoever can reach the listener can try.
const SHORTEST: usize = 16;

/// How processes of the service know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcSection {
    /// What every caller shows as `authorization: Bearer ...`, and what this process shows when it calls. The same in all
    /// processes of a service. None: nothing is asked, which loopback allows only.
    #[serde(with = "optional")]
    pub token: Option<Secret>,
}

impl RpcSection {
    /// Checks the token's shape.
    ///
    /// # Errors
    /// When it cannot be sent with a call or is too short. The error does not hold it.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.token.as_ref().map(Secret::expose) {
            Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Invalid::new("rpc.token", "must be visible ASCII characters, without spaces"))
            }
            Some(token) if token.len() < SHORTEST => {
                Err(Invalid::new("rpc.token", format!("must be at least {SHORTEST} characters; it guards everything")))
            }
            _ => Ok(()),
        }
    }

    /// Gives the token as the options of a client take it.
    #[must_use]
    pub fn shown(&self) -> Option<Arc<str>> {
        self.token.as_ref().map(|token| Arc::from(token.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_enough_and_fit_for_a_header() {
        let of = |token: &str| RpcSection { token: Some(Secret::new(token)) };
        assert_eq!(RpcSection::default().validate(), Ok(()));
        assert_eq!(of("0123456789abcdef").validate(), Ok(()));
        for token in ["0123456789abcde", "0123456789 abcdef", "0123456789abcdef\n", "0123456789abcd\u{e9}f"] {
            let refused = of(token).validate().unwrap_err();
            assert_eq!(refused.key, "rpc.token");
            assert!(!refused.allowed.contains(token), "{refused:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let section = RpcSection { token: Some(Secret::new("0123456789abcdef")) };
        assert!(!format!("{section:?}").contains("0123"));
        assert_eq!(section.shown().as_deref(), Some("0123456789abcdef"));
    }
}
