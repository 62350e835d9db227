//! Where clients connect and where messages are posted: plain addresses with a path.
//!
//! Owns the forms that are accepted. TLS is not among them: a load client that encrypts measures itself.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// What stands in a path for the uid of a connection.
const UID: &str = "{uid}";

/// A WebSocket address: `ws://host:port/path?query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsAddress {
    /// Host and port as they were given.
    pub host: String,
    path: String,
}

/// An address of the admin listener: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    /// Host and port as they were given.
    pub host: String,
}

impl WsAddress {
    /// The request target of one user. `{uid}` in what was given stands for the uid; without it the query names it.
    /// `further` is added to the query.
    #[must_use]
    pub fn target(&self, uid: &str, further: &str) -> String {
        let uid = encode(uid);
        let (mut path, is_named) = (self.path.replace(UID, &uid), self.path.contains(UID));
        let mut add = |field: &str| {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(field);
        };
        if !is_named {
            add(&format!("uid={uid}"));
        }
        add("msg_code=1");
        if !further.is_empty() {
            add(further);
        }
        path
    }

    /// Finds where it is.
    ///
    /// # Errors
    /// The name has no address.
    pub fn resolve(&self) -> Result<SocketAddr, String> {
        resolve(&self.host)
    }
}

impl HttpAddress {
    /// Finds where it is.
    ///
    /// # Errors
    /// The name has no address.
    pub fn resolve(&self) -> Result<SocketAddr, String> {
        resolve(&self.host)
    }
}

fn resolve(host: &str) -> Result<SocketAddr, String> {
    let mut found = host.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    found.next().ok_or_else(|| format!("{host} has no address"))
}

impl FromStr for WsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("wss://") {
            return Err(
                "the load clients speak no TLS: name the plain listener behind it, ws://host:port/ws".to_owned()
            );
        }
        let rest = text.strip_prefix("ws://").ok_or("must begin with ws://")?;
        let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let path = match path {
            "" | "/" => "/ws".to_owned(),
            query if query.starts_with('?') => format!("/ws{query}"),
            path => path.to_owned(),
        };
        if path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err("must have no white space and no fragment".to_owned());
        }
        if !path.starts_with("/ws") {
            return Err("must have the path /ws: the other dialect has no ids and no offsets to count by".to_owned());
        }
        Ok(Self { host: host_with_port(host, "80")?, path })
    }
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("the bench posts without TLS: name the plain listener behind it, http://host:port".to_owned());
        }
        let rest = text.strip_prefix("http://").ok_or("must begin with http://")?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.contains('/') {
            return Err("must be http://host:port without a path".to_owned());
        }
        Ok(Self { host: host_with_port(host, "80")? })
    }
}

fn host_with_port(host: &str, port: &str) -> Result<String, String> {
    let is_bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) => rest.is_empty(),
        None => !host.contains(':'),
    };
    let whole = if is_bare { format!("{host}:{port}") } else { host.to_owned() };
    match whole.rsplit_once(':') {
        Some((name, port))
            if !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) && !name.contains('@') =>
        {
            Ok(whole)
        }
        _ => Err("must name host:port".to_owned()),
    }
}

/// What has a meaning of its own in a query, or is no ASCII, is percent-encoded.
fn encode(text: &str) -> String {
    use fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl fmt::Display for WsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ws://{}{}", self.host, self.path)
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_stands_in_the_query_or_where_it_is_wanted() {
        let target = |text: &str, further| text.parse::<WsAddress>().unwrap().target("a b", further);
        assert_eq!(target("ws://h:1", ""), "/ws?uid=a%20b&msg_code=1");
        assert_eq!(target("ws://h:1/ws?zone=2", "epoch=1"), "/ws?zone=2&uid=a%20b&msg_code=1&epoch=1");
        assert_eq!(target("ws://h?token=secret-{uid}", ""), "/ws?token=secret-a%20b&msg_code=1");
    }

    #[test]
    fn an_address_is_shown_as_it_is_read() {
        for text in ["ws://h:1/ws", "ws://[::1]:80/ws?x=1", "ws://h:80/ws?token={uid}"] {
            assert_eq!(text.parse::<WsAddress>().unwrap().to_string(), text);
        }
        assert_eq!("http://h/".parse::<HttpAddress>().unwrap().to_string(), "http://h:80");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for (text, reason) in [
            ("wss://h/ws", "no TLS"),
            ("h:1", "ws://"),
            ("ws://", "host:port"),
            ("ws://h:x/ws", "host:port"),
            ("ws://h:0/ws", "host:port"),
            ("ws://u:p@h:1/ws", "host:port"),
            ("ws://h:1/acc", "/ws"),
            ("ws://h:1/ws?a b", "white space"),
        ] {
            let error = text.parse::<WsAddress>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [("https://h", "TLS"), ("h:1", "http://"), ("http://h/api", "without a path")] {
            let error = text.parse::<HttpAddress>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
