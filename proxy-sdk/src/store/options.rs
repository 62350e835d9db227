//! What has to be known to reach Redis.
//!
//! Owns the settings and their defaults. Passwords and keys never show in `Debug`. Never opens a connection.

use std::fmt;
use std::time::Duration;

use super::address::{self, Topology};

const DEADLINE: Duration = Duration::from_secs(2);

/// Where Redis is and how to get in. Cheap enough to clone at start.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) tls_files: TlsFiles,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) connect_timeout: Duration,
    pub(super) call_timeout: Duration,
}

/// User and password. An empty user is Redis' `default`.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// Certificates, as PEM.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// Authorities to trust instead of the machine's.
    pub ca: Option<Vec<u8>>,
    /// This side's certificate and key, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why a URL is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// It begins with something else.
    #[error("must begin with redis://, redis-sentinel:// or redis-cluster://, or the same with rediss for TLS")]
    Scheme,
    /// A host or port is missing or wrong.
    #[error("must name host:port, of Sentinel and Cluster several with commas between them")]
    Address,
    /// What follows the host is no number of a database.
    #[error("must end with the number of a database, 0 to 255, or nothing; a cluster has none")]
    Database,
    /// Sentinel is not told which master.
    #[error("must end with /NAME, the name that the sentinels know the master by")]
    Service,
    /// What stands before the `@` is no user and password.
    #[error("must have user:password before the @, with %XX for what has a meaning in a URL")]
    Credentials,
}

impl RedisOptions {
    /// Reads a URL: `redis://host:port/database`, `redis-cluster://host:port,host:port` or
    /// `redis-sentinel://host:port,host:port/service`; with `rediss` for TLS. May hold `user:password@`.
    ///
    /// # Errors
    /// Says which part is not acceptable, without repeating it: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, OptionsError> {
        let (topology, tls, credentials) = address::read(url)?;
        let (username, password) = credentials.unzip();
        Ok(Self {
            topology,
            tls,
            tls_files: TlsFiles::default(),
            login: Login { username: username.filter(|name| !name.is_empty()), password },
            sentinel_login: Login::default(),
            connect_timeout: DEADLINE,
            call_timeout: DEADLINE,
        })
    }

    /// Sets the ACL user.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.login.username = Some(username.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.login.password = Some(password.into());
        self
    }

    /// Sets user and password for the sentinels themselves.
    #[must_use]
    pub fn sentinel_login(mut self, username: Option<String>, password: Option<String>) -> Self {
        self.sentinel_login = Login { username, password };
        self
    }

    /// Sets certificates. They count only with TLS.
    #[must_use]
    pub fn tls_files(mut self, files: TlsFiles) -> Self {
        self.tls_files = files;
        self
    }

    /// Bounds making a connection. Default 2 s.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Bounds a call, reads that block excepted. Default 2 s.
    #[must_use]
    pub const fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Tells how the servers belong together.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    #[cfg(test)]
    pub(crate) fn login(&self) -> (Option<&str>, Option<&str>) {
        (self.login.username.as_deref(), self.login.password.as_deref())
    }

    /// Tells the bound on a call.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.call_timeout
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("topology", &self.topology)
            .field("tls", &self.tls)
            .field("username", &self.login.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let options = RedisOptions::parse("rediss://app:hunter2@cache").unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("app") && !shown.contains("hunter2"), "{shown}");
    }
}
