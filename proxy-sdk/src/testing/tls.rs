//! A server that speaks TLS only, and the certificates for it.
//!
//! Owns an authority of its own per test, whose certificates hold for `localhost` and 127.0.0.1.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::instance::{Instance, server, words};
use super::prefix;
use crate::store::{RedisOptions, TlsFiles};

/// An authority, a certificate of a server and one of a client, all in one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Made>);

#[derive(Debug)]
struct Made {
    folder: PathBuf,
    ca: String,
    client: (String, String),
}

/// Whether a server wants a certificate of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Refuses those without one.
    Required,
    /// Does not ask.
    Unasked,
}

impl Certificates {
    /// Makes new ones, that nobody else trusts.
    #[must_use]
    pub fn mint() -> Self {
        let folder = std::env::temp_dir().join(format!("gim-tls-{}", prefix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (ca, issuer) = authority();
        let (certificate, key) = signed("server", &issuer);
        let client = signed("client", &issuer);
        for (name, text) in [("ca", &ca), ("server", &certificate), ("server-key", &key)] {
            std::fs::write(folder.join(format!("{name}.pem")), text).expect("a file");
        }
        for (name, text) in [("client", &client.0), ("client-key", &client.1)] {
            std::fs::write(folder.join(format!("{name}.pem")), text).expect("a file");
        }
        Self(Arc::new(Made { folder, ca, client }))
    }

    /// What a client needs to trust the servers and to be trusted by them.
    #[must_use]
    pub fn of_client(&self) -> TlsFiles {
        let (certificate, key) = self.0.client.clone();
        TlsFiles { identity: Some((certificate.into_bytes(), key.into_bytes())), ..self.of_stranger() }
    }

    /// What a client needs to trust the servers, without a certificate of its own.
    #[must_use]
    pub fn of_stranger(&self) -> TlsFiles {
        TlsFiles { ca: Some(self.0.ca.clone().into_bytes()), identity: None }
    }

    /// Where a file is: `ca`, `server`, `server-key`, `client` or `client-key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.folder.join(format!("{name}.pem"))
    }

    pub(super) fn server_arguments(&self, port: u16) -> Vec<OsString> {
        let mut all = words(&["--port", "0", "--tls-port", &port.to_string()]);
        for (option, name) in
            [("--tls-ca-cert-file", "ca"), ("--tls-cert-file", "server"), ("--tls-key-file", "server-key")]
        {
            all.push(option.into());
            all.push(self.file(name).into_os_string());
        }
        all
    }

    pub(super) fn cli_arguments(&self) -> Vec<OsString> {
        let mut all = words(&["--tls"]);
        for (option, name) in [("--cacert", "ca"), ("--cert", "client"), ("--key", "client-key")] {
            all.push(option.into());
            all.push(self.file(name).into_os_string());
        }
        all
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be deleted stays in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "an authority of a test");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(parameters, key))
}

fn signed(name: &str, issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let hosts = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut parameters = CertificateParams::new(hosts).expect("parameters");
    parameters.distinguished_name.push(DnType::CommonName, name);
    (parameters.signed_by(&key, issuer).expect("a certificate").pem(), key.serialize_pem())
}

/// A redis-server that speaks TLS and nothing else.
#[derive(Debug)]
pub struct TlsServer {
    certificates: Certificates,
    instance: Instance,
}

impl TlsServer {
    /// Starts one, empty, with an authority of its own.
    pub async fn start(client: ClientCertificate) -> Self {
        let certificates = Certificates::mint();
        let wanted = match client {
            ClientCertificate::Required => "yes",
            ClientCertificate::Unasked => "no",
        };
        let arguments =
            |port, folder: &Path| server(port, folder, Some(&certificates), &["--tls-auth-clients", wanted]);
        let instance = Instance::start(&arguments, Some(&certificates)).await;
        Self { instance, certificates }
    }

    /// Its certificates.
    #[must_use]
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Its URL, with the name that its certificate holds for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.instance.port())
    }

    /// What a client with a certificate needs to reach it.
    #[must_use]
    pub fn options(&self) -> RedisOptions {
        RedisOptions::parse(&self.url()).expect("a URL").tls_files(self.certificates.of_client())
    }

    /// Runs a command as a user who may do everything, and returns what redis-cli prints.
    pub async fn tell(&self, command: &[&str]) -> String {
        self.instance.tell(command).await
    }

    /// Kills it, as a crash does.
    pub fn stop(&mut self) {
        self.instance.stop();
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        self.instance.restart().await;
    }
}
