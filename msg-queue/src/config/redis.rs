//! Section `redis`: where Redis is and how to get in.
//!
//! Owns the keys and makes of them what the store takes ([`RedisSection::options`]). Counts in modes `redis` and
//! `cluster` only.

use std::path::PathBuf;
use std::time::Duration;

use gim_proxy_sdk::store::{RedisOptions, TlsFiles};
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, span_within, within};
use super::secret::Secret;
use super::{duration, optional, pem};

/// A call that hangs for longer would outlast the leases.
const LONGEST: Duration = Duration::from_secs(3);

/// Where Redis is and how to get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// `redis://host:port/database`, `redis-sentinel://host:port,host:port/service` or
    /// `redis-cluster://host:port,host:port`; with `rediss` for TLS. Without user and password.
    pub url: String,
    /// ACL user. None: `default`.
    #[serde(with = "optional")]
    pub username: Option<String>,
    /// Its password.
    #[serde(with = "optional")]
    pub password: Option<Secret>,
    /// ACL user at the sentinels.
    #[serde(with = "optional")]
    pub sentinel_username: Option<String>,
    /// Its password.
    #[serde(with = "optional")]
    pub sentinel_password: Option<Secret>,
    /// File with the certificates of the authorities to trust, PEM. None: those the machine trusts.
    #[serde(with = "optional")]
    pub tls_ca: Option<PathBuf>,
    /// File with this side's certificate, PEM, for servers that ask for one.
    #[serde(with = "optional")]
    pub tls_cert: Option<PathBuf>,
    /// File with its key, PEM.
    #[serde(with = "optional")]
    pub tls_key: Option<PathBuf>,
    /// How long making a connection may take, up to 3 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long a call may take, up to 3 s. At the bound its effect is unknown.
    #[serde(with = "duration")]
    pub call_timeout: Duration,
    /// Owners of uids kept in memory for look-ups. At the bound the least used go.
    pub lookup_cache: usize,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(2),
            lookup_cache: 100_000,
        }
    }
}

impl RedisSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds, or two that contradict each other. Never repeats the URL.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.url.contains('@') {
            // It would be shown wherever the configuration is.
            return Err(Invalid::new(
                "redis.url",
                "must hold no user and password: set redis.username, redis.password",
            ));
        }
        RedisOptions::parse(&self.url).map_err(|error| Invalid::new("redis.url", error.to_string()))?;
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(Invalid::against("redis.tls_cert", "redis.tls_key", "must be set together with redis.tls_key"));
        }
        if self.tls_cert.is_some() && self.tls_ca.is_none() {
            let allowed =
                "must be set together with redis.tls_ca: a certificate is shown to servers of that authority only";
            return Err(Invalid::against("redis.tls_cert", "redis.tls_ca", allowed));
        }
        span_within("redis.connect_timeout", self.connect_timeout, Duration::from_millis(10)..=LONGEST)?;
        span_within("redis.call_timeout", self.call_timeout, Duration::from_millis(10)..=LONGEST)?;
        within("redis.lookup_cache", self.lookup_cache, 1..=100_000_000)
    }

    /// Makes of it what the store takes. Reads the files it names.
    ///
    /// # Errors
    /// Names the key whose value, or whose file, is not acceptable.
    pub fn options(&self) -> Result<RedisOptions, Invalid> {
        let options = RedisOptions::parse(&self.url).map_err(|error| Invalid::new("redis.url", error.to_string()))?;
        let mut options = options
            .connect_timeout(self.connect_timeout)
            .call_timeout(self.call_timeout)
            .sentinel_login(self.sentinel_username.clone(), exposed(self.sentinel_password.as_ref()))
            .tls_files(self.tls_files()?);
        if let Some(username) = &self.username {
            options = options.username(username);
        }
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        Ok(options)
    }

    fn tls_files(&self) -> Result<TlsFiles, Invalid> {
        let certificate = pem::read("redis.tls_cert", &self.tls_cert)?;
        let key = pem::read("redis.tls_key", &self.tls_key)?;
        Ok(TlsFiles { ca: pem::read("redis.tls_ca", &self.tls_ca)?, identity: certificate.zip(key) })
    }
}

fn exposed(secret: Option<&Secret>) -> Option<String> {
    secret.map(|secret| secret.expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(section: RedisSection) -> &'static str {
        section.validate().unwrap_err().key
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(RedisSection::default().validate(), Ok(()));
        assert!(RedisSection::default().options().is_ok());
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        let section = RedisSection { url: "redis://app:hunter2@cache".to_owned(), ..RedisSection::default() };
        assert!(!section.validate().unwrap_err().allowed.contains("hunter2"));
        assert_eq!(refused(section), "redis.url");
        assert_eq!(refused(RedisSection { url: "cache:6379".to_owned(), ..RedisSection::default() }), "redis.url");
    }

    #[test]
    fn a_certificate_needs_its_key_and_files_must_be_there() {
        let path = Some(PathBuf::from("/nowhere/at/all.pem"));
        let half = RedisSection { tls_cert: path.clone(), ..RedisSection::default() };
        assert_eq!(refused(half), "redis.tls_cert");
        let missing = RedisSection { tls_ca: path, ..RedisSection::default() };
        assert_eq!(missing.options().unwrap_err().key, "redis.tls_ca");
    }
}
