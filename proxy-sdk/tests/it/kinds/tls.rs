//! By TLS: whom each side trusts.

use fred::interfaces::ClientLike;
use gim_proxy_sdk::store::{RedisOptions, Store, StoreErrorKind, TlsFiles, fred_client};
use gim_proxy_sdk::testing::{Certificates, ClientCertificate, TlsServer};

use super::contract::{self, Parties};
use super::ways::{all_ways_work, fred, fred_set, heals, set};

async fn refused(options: RedisOptions) {
    let error = Store::new(options.clone()).link("k").query::<()>(&set("k", "1")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    let fred = fred_client(&options).unwrap();
    fred.init().await.unwrap_err();
}

#[tokio::test]
async fn a_server_of_a_known_authority_is_spoken_to() {
    let server = TlsServer::start(ClientCertificate::Unasked).await;
    all_ways_work(server.options().tls_files(server.certificates().of_stranger())).await;
}

#[tokio::test]
async fn the_contract_holds_by_tls() {
    let server = TlsServer::start(ClientCertificate::Required).await;
    contract::holds(&Parties::alike(&server.options())).await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let server = TlsServer::start(ClientCertificate::Unasked).await;
    refused(server.options().tls_files(Certificates::mint().of_stranger())).await;
    // Without an authority of its own it trusts those of the machine, which do not know this server.
    refused(server.options().tls_files(TlsFiles::default())).await;
}

#[tokio::test]
async fn a_server_under_another_name_is_refused() {
    let server = TlsServer::start(ClientCertificate::Unasked).await;
    let other = server.url().replace("localhost", "127.0.0.2");
    refused(RedisOptions::parse(&other).unwrap().tls_files(server.certificates().of_stranger())).await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_one_is_wanted() {
    let server = TlsServer::start(ClientCertificate::Required).await;
    all_ways_work(server.options()).await;
    refused(server.options().tls_files(server.certificates().of_stranger())).await;
    let other = TlsFiles { identity: Certificates::mint().of_client().identity, ..server.certificates().of_stranger() };
    refused(server.options().tls_files(other)).await;
}

#[tokio::test]
async fn no_tls_where_tls_is_spoken_is_told_within_the_deadline() {
    let server = TlsServer::start(ClientCertificate::Unasked).await;
    refused(RedisOptions::parse(&server.url().replace("rediss", "redis")).unwrap()).await;
}

#[tokio::test]
async fn certificates_that_are_none_are_refused() {
    let server = TlsServer::start(ClientCertificate::Unasked).await;
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
        let files = TlsFiles { ca: Some(text.as_bytes().to_vec()), identity: None };
        let options = server.options().tls_files(files);
        let error = Store::new(options.clone()).link("k").query::<()>(&set("k", "1")).await.unwrap_err();
        assert_ne!(error.kind, StoreErrorKind::Unknown, "{text}");
        match fred_client(&options) {
            Err(_) => {}
            Ok(client) => drop(client.init().await.unwrap_err()),
        }
    }
}

#[tokio::test]
async fn a_restart_is_survived_by_tls_too() {
    let mut server = TlsServer::start(ClientCertificate::Required).await;
    let store = Store::new(server.options());
    let (link, fred) = (store.link("k"), fred(store.options()).await);
    link.query::<()>(&set("k", "1")).await.unwrap();
    fred_set(&fred, "k", "1").await.unwrap();
    server.stop();
    server.restart().await;
    heals(async || link.query::<()>(&set("k", "2")).await).await;
    heals(async || fred_set(&fred, "k", "3").await).await;
}
