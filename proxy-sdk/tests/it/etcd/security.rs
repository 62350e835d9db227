//! An etcd that wants to know who asks.

use std::time::Duration;

use gim_proxy_sdk::etcd::{EtcdOptions, Registrar, Watcher};
use gim_proxy_sdk::testing::{Certificates, EtcdServer};

use super::world::{LONG_TTL, id, keys, says, seen, sees, standing, until};

async fn is_refused(options: &EtcdOptions) {
    let keys = keys();
    let watcher = Watcher::start(options, &keys);
    let registrar = Registrar::start(options, &keys, id("n1"), says(1), LONG_TTL);
    until("a refusal", async || registrar.stats().failures > 1).await;
    assert!(!registrar.is_registered() && !watcher.snapshot().is_known());
}

#[tokio::test]
async fn by_tls_those_with_a_certificate_are_let_in_and_others_are_not() {
    let (certificates, keys) = (Certificates::mint(), keys());
    let server = EtcdServer::start_tls(&certificates).await;
    assert!(server.endpoint().starts_with("https://"));
    let watcher = Watcher::start(&server.options(), &keys);
    let _registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    is_refused(&server.options().tls_files(certificates.of_stranger())).await;
    // And a server of an authority that is not trusted gets nothing.
    is_refused(&server.options().tls_files(Certificates::mint().of_client())).await;
}

#[tokio::test]
async fn a_user_who_may_touch_nothing_but_the_keys_of_nodes_is_enough() {
    let keys = keys();
    let server = EtcdServer::start_guarded(&keys, &[]).await;
    let watcher = Watcher::start(&server.options(), &keys);
    let registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    sees(&watcher, &["n1"]).await;
    registrar.leave().await;
    sees(&watcher, &[]).await;
    assert_eq!((registrar.stats().failures, watcher.stats().relists), (0, 0));
    for (name, password) in [("gim", "wrong"), ("nobody", "secret")] {
        is_refused(&server.options().login(name, password)).await;
    }
    is_refused(&EtcdOptions::new([server.endpoint()])).await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_replaced() {
    let keys = keys();
    let server = EtcdServer::start_guarded(&keys, &["--auth-token-ttl", "1"]).await;
    let watcher = Watcher::start(&server.options(), &keys);
    // Its lease is asked about every 2 s, with a token that has expired each time.
    let registrar = standing(&server.options(), &keys, "n1", Duration::from_secs(6)).await;
    // Nobody tells when a token has expired.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(registrar.is_registered());
    let anew = says(1);
    registrar.change(anew.clone());
    seen(&watcher, "what it says anew", |snapshot| snapshot.node(&id("n1")) == Some(&anew)).await;
    assert_eq!(registrar.stats().regrants, 0);
}

#[tokio::test]
async fn a_guarded_etcd_that_was_restarted_lets_the_same_nodes_in() {
    let keys = keys();
    let mut server = EtcdServer::start_guarded(&keys, &[]).await;
    let registrar = standing(&server.options(), &keys, "n1", LONG_TTL).await;
    let watcher = Watcher::start(&server.options(), &keys);
    sees(&watcher, &["n1"]).await;
    server.stop();
    server.restart().await;
    let _other = standing(&server.options(), &keys, "n2", LONG_TTL).await;
    sees(&watcher, &["n1", "n2"]).await;
    assert!(registrar.is_registered());
}
