//! What has to be known to reach etcd.
//!
//! Owns the settings and their defaults. Passwords and keys never show in `Debug`. Never opens a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use tonic::transport::{Endpoint, Uri};

use super::fault::{EtcdError, EtcdErrorKind};
use crate::store::TlsFiles;

const MOST_ENDPOINTS: usize = 16;

/// Where etcd is and how to get in. Cheap enough to clone at start.
#[derive(Clone)]
pub struct EtcdOptions {
    pub(super) endpoints: Vec<Arc<str>>,
    login: Option<(String, String)>,
    tls: TlsFiles,
    pub(super) connect_timeout: Duration,
    pub(super) call_timeout: Duration,
    pub(super) keep_alive: Duration,
}

impl EtcdOptions {
    /// Takes note of the members of one etcd, `http://host:port` or `https://host:port`, 16 at most. One that answers
    /// is enough.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(|endpoint| Arc::from(endpoint.into())).collect(),
            login: None,
            tls: TlsFiles::default(),
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_millis(1_500),
        }
    }

    /// Sets user and password.
    #[must_use]
    pub fn login(mut self, username: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((username.into(), password.into()));
        self
    }

    /// Sets certificates. They count only at endpoints with `https`.
    #[must_use]
    pub fn tls_files(mut self, files: TlsFiles) -> Self {
        self.tls = files;
        self
    }

    /// Bounds making a connection. Default 2 s.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Bounds a call. Default 3 s.
    #[must_use]
    pub const fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how long a watch may be silent before it is asked for a sign of life, and how long that may take. Default
    /// 1.5 s: a frozen etcd is noticed after twice as long.
    #[must_use]
    pub const fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }

    /// Tells where it is.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(AsRef::as_ref)
    }

    /// Tells the bound on a call.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.call_timeout
    }

    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Says what is not acceptable, without repeating it.
    pub fn check(&self) -> Result<(), EtcdError> {
        let count = self.endpoints.len();
        if count == 0 || count > MOST_ENDPOINTS || !self.endpoints.iter().all(|endpoint| is_endpoint(endpoint)) {
            return Err(EtcdError::of_options(EtcdErrorKind::Endpoints));
        }
        if self.login.as_ref().is_some_and(|(name, password)| name.is_empty() || password.is_empty()) {
            return Err(EtcdError::of_options(EtcdErrorKind::Login));
        }
        let has_files = self.tls.ca.is_some() || self.tls.identity.is_some();
        if has_files && !self.endpoints.iter().any(|endpoint| is_tls(endpoint)) {
            return Err(EtcdError::of_options(EtcdErrorKind::Certificates));
        }
        self.check_certificates()
    }

    fn check_certificates(&self) -> Result<(), EtcdError> {
        let Some(endpoint) = self.endpoints().find(|endpoint| is_tls(endpoint)) else { return Ok(()) };
        let made = Endpoint::from_shared(endpoint.to_owned()).and_then(|made| made.tls_config(self.tls_options()));
        match made {
            Ok(_) => Ok(()),
            Err(error) => Err(EtcdError { kind: EtcdErrorKind::Certificates, source: Some(Box::new(error)) }),
        }
    }

    /// What the client library needs for one endpoint.
    pub(super) fn of_client(&self, endpoint: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_timeout(self.call_timeout)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((username, password)) = &self.login {
            options = options.with_user(username, password);
        }
        if is_tls(endpoint) {
            options = options.with_tls(self.tls_options());
        }
        options
    }

    fn tls_options(&self) -> TlsOptions {
        let mut tls = match &self.tls.ca {
            Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
            None => TlsOptions::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.tls.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        tls
    }
}

fn is_tls(endpoint: &str) -> bool {
    endpoint.starts_with("https://")
}

fn is_endpoint(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else { return false };
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_address = uri.authority().is_some_and(|authority| {
        !authority.as_str().contains('@') && !authority.host().is_empty() && authority.port_u16().is_some()
    });
    is_known && has_address && matches!(uri.path(), "" | "/") && uri.query().is_none()
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("username", &self.login.as_ref().map(|(username, _)| username))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &EtcdOptions) -> EtcdErrorKind {
        options.check().unwrap_err().kind
    }

    #[test]
    fn endpoints_are_urls_of_hosts_with_ports() {
        assert!(
            EtcdOptions::new(["http://127.0.0.1:2379", "https://etcd-2:2379/", "http://[::1]:2379"]).check().is_ok()
        );
        let wrong =
            ["etcd:2379", "http://etcd", "ftp://etcd:1", "http://u:p@etcd:1", "http://etcd:1/x", "", "http://:1"];
        for endpoint in wrong {
            assert_eq!(refused(&EtcdOptions::new([endpoint])), EtcdErrorKind::Endpoints, "{endpoint}");
        }
        assert_eq!(refused(&EtcdOptions::new(Vec::<String>::new())), EtcdErrorKind::Endpoints);
        assert_eq!(refused(&EtcdOptions::new(vec!["http://e:1"; 17])), EtcdErrorKind::Endpoints);
    }

    #[test]
    fn half_a_login_and_useless_certificates_are_refused() {
        let options = EtcdOptions::new(["http://etcd:2379"]);
        assert_eq!(refused(&options.clone().login("gim", "")), EtcdErrorKind::Login);
        let files = TlsFiles { ca: Some(Vec::new()), identity: None };
        assert_eq!(refused(&options.tls_files(files)), EtcdErrorKind::Certificates);
        let identity = Some((b"no PEM".to_vec(), b"neither".to_vec()));
        let options = EtcdOptions::new(["https://etcd:2379"]).tls_files(TlsFiles { ca: None, identity });
        assert_eq!(refused(&options), EtcdErrorKind::Certificates);
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let shown = format!("{:?}", EtcdOptions::new(["http://etcd:2379"]).login("gim", "hunter2"));
        assert!(shown.contains("gim") && !shown.contains("hunter2"), "{shown}");
    }
}
