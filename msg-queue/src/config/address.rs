//! An address as text, for `#[serde(with = "address")]`, with an error that says how one looks.

use std::net::SocketAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes an address.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

/// Reads an address.
///
/// # Errors
/// When the value is no IP address with a port.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom("must be an IP address and a port, such as \"127.0.0.1:8081\" or \"[::1]:8081\""))
}
