//! Section `etcd`: where etcd is and how to get in.
//!
//! Owns the keys and makes of them what the SDK takes ([`EtcdSection::options`]). Counts in mode `cluster` only.

use std::path::PathBuf;
use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdError, EtcdErrorKind, EtcdOptions};
use gim_proxy_sdk::store::TlsFiles;
use serde::{Deserialize, Serialize};

use super::invalid::{Invalid, span_within};
use super::secret::Secret;
use super::{duration, optional, pem};

/// Where etcd is and how to get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdSection {
    /// Its members, 1 to 16, each `http://host:port` or `https://host:port`. Without user and password.
    pub endpoints: Vec<String>,
    /// User. None: etcd asks for none.
    #[serde(with = "optional")]
    pub username: Option<String>,
    /// Its password.
    #[serde(with = "optional")]
    pub password: Option<Secret>,
    /// File with the certificates of the authorities to trust, PEM. None: those the machine trusts.
    #[serde(with = "optional")]
    pub tls_ca: Option<PathBuf>,
    /// File with this side's certificate, PEM, for servers that ask for one.
    #[serde(with = "optional")]
    pub tls_cert: Option<PathBuf>,
    /// File with its key, PEM.
    #[serde(with = "optional")]
    pub tls_key: Option<PathBuf>,
    /// How long etcd keeps a node's key without hearing from it, 2 s to 60 s. Whole seconds count.
    #[serde(with = "duration")]
    pub ttl: Duration,
}

impl Default for EtcdSection {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            username: None,
            password: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            ttl: Duration::from_secs(10),
        }
    }
}

impl EtcdSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds, or two that contradict each other. Never repeats an endpoint.
    pub fn validate(&self) -> Result<(), Invalid> {
        EtcdOptions::new(&self.endpoints).check().map_err(refuse)?;
        if self.username.is_some() != self.password.is_some() {
            return Err(Invalid::against("etcd.username", "etcd.password", "must be set together with etcd.password"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(Invalid::against("etcd.tls_cert", "etcd.tls_key", "must be set together with etcd.tls_key"));
        }
        if self.tls_cert.is_some() && self.tls_ca.is_none() {
            let allowed =
                "must be set together with etcd.tls_ca: a certificate is shown to servers of that authority only";
            return Err(Invalid::against("etcd.tls_cert", "etcd.tls_ca", allowed));
        }
        if self.tls_ca.is_some() && !self.endpoints.iter().all(|endpoint| endpoint.starts_with("https://")) {
            return Err(Invalid::against("etcd.tls_ca", "etcd.endpoints", "needs etcd.endpoints with https"));
        }
        span_within("etcd.ttl", self.ttl, Duration::from_secs(2)..=Duration::from_secs(60))
    }

    /// Makes of it what the SDK takes. Reads the files it names.
    ///
    /// # Errors
    /// Names the key whose value, or whose file, is not acceptable.
    pub fn options(&self) -> Result<EtcdOptions, Invalid> {
        let mut options = EtcdOptions::new(&self.endpoints).tls_files(self.tls_files()?);
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            options = options.login(username, password.expose());
        }
        options.check().map_err(refuse)?;
        Ok(options)
    }

    fn tls_files(&self) -> Result<TlsFiles, Invalid> {
        let certificate = pem::read("etcd.tls_cert", &self.tls_cert)?;
        let key = pem::read("etcd.tls_key", &self.tls_key)?;
        Ok(TlsFiles { ca: pem::read("etcd.tls_ca", &self.tls_ca)?, identity: certificate.zip(key) })
    }
}

fn refuse(error: EtcdError) -> Invalid {
    let key = match error.kind {
        EtcdErrorKind::Login => "etcd.password",
        EtcdErrorKind::Certificates => "etcd.tls_ca",
        _ => "etcd.endpoints",
    };
    Invalid::new(key, error.kind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(section: EtcdSection) -> &'static str {
        section.validate().unwrap_err().key
    }

    fn at(endpoint: &str) -> EtcdSection {
        EtcdSection { endpoints: vec![endpoint.to_owned()], ..EtcdSection::default() }
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(EtcdSection::default().validate(), Ok(()));
        assert!(EtcdSection::default().options().is_ok());
    }

    #[test]
    fn an_endpoint_with_a_password_is_refused_without_repeating_it() {
        let section = at("http://gim:hunter2@etcd:2379");
        assert!(!section.validate().unwrap_err().allowed.contains("hunter2"));
        assert_eq!(refused(section), "etcd.endpoints");
        assert_eq!(refused(at("etcd:2379")), "etcd.endpoints");
        assert_eq!(refused(EtcdSection { endpoints: Vec::new(), ..EtcdSection::default() }), "etcd.endpoints");
    }

    #[test]
    fn a_user_needs_a_password_and_a_certificate_its_key_and_authority() {
        let user = EtcdSection { username: Some("gim".to_owned()), ..EtcdSection::default() };
        assert_eq!(refused(user), "etcd.username");
        let path = Some(PathBuf::from("/nowhere/at/all.pem"));
        let half = EtcdSection { tls_cert: path.clone(), ..at("https://etcd:2379") };
        assert_eq!(refused(half), "etcd.tls_cert");
        let both = EtcdSection { tls_cert: path.clone(), tls_key: path.clone(), ..at("https://etcd:2379") };
        assert_eq!(refused(both), "etcd.tls_cert");
        let in_the_clear = EtcdSection { tls_ca: path.clone(), ..EtcdSection::default() };
        assert_eq!(refused(in_the_clear), "etcd.tls_ca");
        let missing = EtcdSection { tls_ca: path, ..at("https://etcd:2379") };
        assert_eq!(missing.options().unwrap_err().key, "etcd.tls_ca");
    }

    #[test]
    fn endpoints_in_the_environment_are_a_list_with_commas() {
        #[derive(Default, Serialize, Deserialize)]
        #[serde(default)]
        struct Whole {
            etcd: EtcdSection,
        }
        let variables = [("GIM_ETCD__ENDPOINTS", "http://a:2379, https://b:2379"), ("GIM_ETCD__TTL", "5s")];
        let sources = super::super::Sources::new().environment(variables);
        let etcd = super::super::load::<Whole>(&sources).unwrap().value.etcd;
        assert_eq!(etcd.endpoints, ["http://a:2379", "https://b:2379"]);
        assert_eq!(etcd.ttl, Duration::from_secs(5));
    }

    #[test]
    fn the_lease_has_bounds() {
        assert_eq!(refused(EtcdSection { ttl: Duration::from_secs(1), ..EtcdSection::default() }), "etcd.ttl");
    }
}
