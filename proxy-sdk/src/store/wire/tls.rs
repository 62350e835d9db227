//! TLS for connections that no client library makes.

use std::sync::Arc;

use ::fred::rustls_native_certs::load_native_certs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::store::connect::choose_cryptography;
use crate::store::options::TlsFiles;
use crate::store::{RedisOptions, StoreError, StoreErrorKind};

/// Makes a connection secret, and makes sure who is at its other end.
pub(super) async fn connect(
    options: &RedisOptions,
    host: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, StoreError> {
    let name = ServerName::try_from(host.to_owned()).map_err(wrong)?;
    let connector = TlsConnector::from(Arc::new(client_config(&options.tls_files)?));
    connector.connect(name, tcp).await.map_err(StoreError::unreachable_for)
}

/// Whom to trust, and as whom to appear.
pub(in crate::store) fn client_config(files: &TlsFiles) -> Result<ClientConfig, StoreError> {
    choose_cryptography();
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(ca) => {
            for certificate in CertificateDer::pem_slice_iter(ca) {
                roots.add(certificate.map_err(wrong)?).map_err(wrong)?;
            }
        }
        // What of the machine's cannot be read is not trusted: a server of such an authority is refused, with a reason.
        None => {
            roots.add_parsable_certificates(load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    match &files.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(wrong)?;
            config.with_client_auth_cert(chain, key).map_err(wrong)
        }
    }
}

fn wrong(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError { kind: StoreErrorKind::Refused, code: None, source: Some(Box::new(error)) }
}
