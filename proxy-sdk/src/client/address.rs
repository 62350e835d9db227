//! Where a node listens for calls, as people write it.

use std::fmt;
use std::str::FromStr;

use tonic::transport::{Endpoint, Uri};

use crate::{Error, ErrorKind};

/// `http://host:port`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Uri);

impl Address {
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::from(self.0.clone())
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let wrong = || Error::new(ErrorKind::Invalid, "a node's address has the form http://host:port");
        let uri: Uri = whole.parse().map_err(|_| wrong())?;
        let has_port = uri.port_u16().is_some_and(|port| port > 0);
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let has_path = uri.path_and_query().is_some_and(|path| path.as_str() != "/");
        if uri.scheme_str() != Some("http") || !has_host || !has_port || has_user || has_path {
            return Err(wrong());
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_be_left_out() {
        for text in ["127.0.0.1:8091", "http://127.0.0.1:8091", "http://127.0.0.1:8091/"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), "http://127.0.0.1:8091");
        }
        for text in ["node-1.example:8091", "[::1]:8091", "localhost:8091"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), format!("http://{text}"));
        }
    }

    #[test]
    fn what_is_no_address_of_a_node_is_refused() {
        let wrong = [
            "",
            "http://",
            "8091",
            ":8091",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "https://127.0.0.1:8091",
            "redis://127.0.0.1:6379",
            "http://127.0.0.1:8091/api",
            "http://127.0.0.1:8091?x=1",
            "http://me@127.0.0.1:8091",
            "http://a b:1",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Address>().map_err(|error| error.kind), Err(ErrorKind::Invalid), "{text:?}");
        }
    }
}
