//! Where servers are, read off a URL.
//!
//! Owns the forms of a URL: `redis://host:port/db`, `redis-cluster://host:port,host:port`,
//! `redis-sentinel://host:port,host:port/service`, and the same with `rediss` for TLS. Never resolves a name.

use super::options::OptionsError;

/// One server's host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone {
        /// Where it is.
        server: Address,
        /// Number of the database, 0 to 15.
        database: u8,
    },
    /// A master that Sentinel names.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Address>,
        /// The name they know the master by.
        service: String,
    },
    /// Keys spread over masters by slot.
    Cluster {
        /// Some of its servers; the others are learned from them.
        seeds: Vec<Address>,
    },
}

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A user's name and password.
pub(super) type Credentials = (String, String);

/// Takes a URL apart: the topology, whether by TLS, and user and password if it holds some.
pub(super) fn read(url: &str) -> Result<(Topology, bool, Option<Credentials>), OptionsError> {
    let (scheme, rest) = url.split_once("://").ok_or(OptionsError::Scheme)?;
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials_of(credentials)?), rest),
        None => (None, rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (base, tls) = match scheme.strip_prefix("rediss") {
        Some(kind) => (kind, true),
        None => (scheme.strip_prefix("redis").ok_or(OptionsError::Scheme)?, false),
    };
    let topology = match base {
        "" => standalone(hosts, path)?,
        "-sentinel" => sentinel(hosts, path)?,
        "-cluster" if path.is_empty() => Topology::Cluster { seeds: addresses(hosts, DEFAULT_PORT)? },
        "-cluster" => return Err(OptionsError::Database),
        _ => return Err(OptionsError::Scheme),
    };
    Ok((topology, tls, credentials))
}

fn standalone(hosts: &str, path: &str) -> Result<Topology, OptionsError> {
    let database = match path {
        "" => 0,
        number => number.parse().map_err(|_| OptionsError::Database)?,
    };
    let mut all = addresses(hosts, DEFAULT_PORT)?;
    match (all.pop(), all.is_empty()) {
        (Some(server), true) => Ok(Topology::Standalone { server, database }),
        _ => Err(OptionsError::Address),
    }
}

fn sentinel(hosts: &str, service: &str) -> Result<Topology, OptionsError> {
    if service.is_empty() {
        return Err(OptionsError::Service);
    }
    Ok(Topology::Sentinel { sentinels: addresses(hosts, SENTINEL_PORT)?, service: service.to_owned() })
}

fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, OptionsError> {
    hosts.split(',').map(|host| address(host.trim(), port)).collect()
}

fn address(text: &str, default_port: u16) -> Result<Address, OptionsError> {
    // An IPv6 address stands in brackets: its colons are no ports.
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| OptionsError::Address))?;
    match host.is_empty() || host.contains(char::is_whitespace) || port == 0 {
        true => Err(OptionsError::Address),
        false => Ok(Address { host: host.to_owned(), port }),
    }
}

fn credentials_of(text: &str) -> Result<Credentials, OptionsError> {
    let (user, password) = text.split_once(':').ok_or(OptionsError::Credentials)?;
    Ok((decode(user)?, decode(password)?))
}

// Percent signs stand for bytes that have a meaning of their own in a URL.
fn decode(text: &str) -> Result<String, OptionsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => return Err(OptionsError::Credentials),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| OptionsError::Credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_of_a_url_is_read() {
        let standalone = |server, database| Topology::Standalone { server, database };
        let cases = [
            ("redis://127.0.0.1:7000", standalone(at("127.0.0.1", 7000), 0), false),
            ("redis://cache", standalone(at("cache", 6379), 0), false),
            ("rediss://cache:1/3", standalone(at("cache", 1), 3), true),
            ("redis://[::1]:7", standalone(at("::1", 7), 0), false),
            ("redis-cluster://a:1,b", Topology::Cluster { seeds: vec![at("a", 1), at("b", 6379)] }, false),
            (
                "rediss-sentinel://a,b:2/main",
                Topology::Sentinel { sentinels: vec![at("a", 26379), at("b", 2)], service: "main".to_owned() },
                true,
            ),
        ];
        for (url, topology, tls) in cases {
            assert_eq!(read(url).unwrap(), (topology, tls, None), "{url}");
        }
    }

    #[test]
    fn user_and_password_may_hold_any_byte() {
        let (_, _, credentials) = read("redis://app:p%40ss%3aword@cache").unwrap();
        assert_eq!(credentials.unwrap(), ("app".to_owned(), "p@ss:word".to_owned()));
        let (_, _, credentials) = read("redis://:secret@cache").unwrap();
        assert_eq!(credentials.unwrap(), (String::new(), "secret".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        let cases = [
            ("127.0.0.1:6379", OptionsError::Scheme),
            ("http://a", OptionsError::Scheme),
            ("redis-other://a", OptionsError::Scheme),
            ("redis://", OptionsError::Address),
            ("redis://a,b", OptionsError::Address),
            ("redis://a:0", OptionsError::Address),
            ("redis://a:x", OptionsError::Address),
            ("redis://a/x", OptionsError::Database),
            ("redis-cluster://a/1", OptionsError::Database),
            ("redis-sentinel://a", OptionsError::Service),
            ("redis://user@a", OptionsError::Credentials),
            ("redis://user:%4@a", OptionsError::Credentials),
        ];
        for (url, error) in cases {
            assert_eq!(read(url).unwrap_err(), error, "{url}");
        }
    }
}
