//! Making a connection to the master that holds a key.
//!
//! Owns finding it: the one server, the master that Sentinel names, or the master of the key's slot. Asks anew for each
//! connection, so that whoever reconnects after a failover comes to the new master.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates, TlsMode, Value,
};
use gim_proto::slot_of;
use tokio::time::timeout;

use super::address::{Address, Topology};
use super::options::Login;
use super::{RedisOptions, Store, StoreError};

/// The master of one key, as something a pool can connect to.
#[derive(Clone, Debug)]
pub struct Home {
    pub(super) store: Store,
    pub(super) key: Arc<str>,
}

impl Store {
    /// Makes a connection to the master that holds a key's slot. `response` bounds every call on it; None: not at all,
    /// for reads that block, which the caller bounds.
    ///
    /// # Errors
    /// Nothing was sent yet: every error but a refused login is [`super::StoreErrorKind::Unavailable`].
    pub async fn connect(&self, key: &str, response: Option<Duration>) -> Result<MultiplexedConnection, StoreError> {
        let options = self.options();
        // Finding the master and connecting to it take a bounded time each.
        let most = options.connect_timeout * 2;
        let connecting = connect(options, key, response);
        timeout(most, connecting).await.map_err(|_| StoreError::unreachable())?
    }
}

async fn connect(
    options: &RedisOptions,
    key: &str,
    response: Option<Duration>,
) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(response);
    let master = match options.topology() {
        Topology::Standalone { server, database } => client(options, server, *database),
        Topology::Sentinel { sentinels, service } => {
            return by_sentinel(options, sentinels, service, &config).await;
        }
        Topology::Cluster { seeds } => client(options, &master_of(options, seeds, key).await?, 0),
    };
    let master = master.map_err(StoreError::of_connecting)?;
    master.get_multiplexed_async_connection_with_config(&config).await.map_err(StoreError::of_connecting)
}

async fn by_sentinel(
    options: &RedisOptions,
    sentinels: &[Address],
    service: &str,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, StoreError> {
    let client = sentinel_client(options, sentinels, service);
    let mut client = client.map_err(StoreError::of_connecting)?;
    client.get_async_connection_with_config(config).await.map_err(StoreError::of_connecting)
}

fn sentinel_client(
    options: &RedisOptions,
    sentinels: &[Address],
    service: &str,
) -> ::redis::RedisResult<::redis::sentinel::SentinelClient> {
    let addresses = sentinels.iter().map(|sentinel| address(options, sentinel));
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    if let Some(username) = &options.login.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &options.login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = &options.sentinel_login.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &options.sentinel_login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if options.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(options))
            .set_client_to_sentinel_certificates(certificates(options));
    }
    builder.build()
}

/// Asks one seed after another who holds a key's slot.
async fn master_of(options: &RedisOptions, seeds: &[Address], key: &str) -> Result<Address, StoreError> {
    let slot = i64::from(slot_of(key));
    let mut last = StoreError::unreachable();
    for seed in seeds {
        match ask_slots(options, seed).await {
            Ok(slots) => match holder(&slots, slot, seed) {
                Some(master) => return Ok(master),
                None => last = StoreError::unreachable(),
            },
            Err(error) => last = StoreError::of_connecting(error),
        }
    }
    Err(last)
}

async fn ask_slots(options: &RedisOptions, seed: &Address) -> ::redis::RedisResult<Value> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.call_timeout));
    let mut seed = client(options, seed, 0)?.get_multiplexed_async_connection_with_config(&config).await?;
    ::redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut seed).await
}

// Answer: ranges of slots, each [first, last, [host, port, id, ...], replicas...].
fn holder(slots: &Value, slot: i64, asked: &Address) -> Option<Address> {
    let Value::Array(ranges) = slots else { return None };
    ranges.iter().find_map(|range| {
        let Value::Array(range) = range else { return None };
        let (Value::Int(first), Value::Int(last)) = (range.first()?, range.get(1)?) else { return None };
        if !(*first..=*last).contains(&slot) {
            return None;
        }
        let Value::Array(master) = range.get(2)? else { return None };
        let Value::Int(port) = master.get(1)? else { return None };
        let host = match master.first()? {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
            // A server that does not know its own name: the one it was reached by.
            _ => asked.host.clone(),
        };
        Some(Address { host, port: u16::try_from(*port).ok()? })
    })
}

fn client(options: &RedisOptions, server: &Address, database: u8) -> ::redis::RedisResult<Client> {
    let info = address(options, server).into_connection_info()?;
    let info = info.set_redis_settings(settings(&options.login).set_db(i64::from(database)));
    match options.tls {
        true => Client::build_with_tls(info, certificates(options)),
        false => Client::open(info),
    }
}

fn settings(login: &Login) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default();
    if let Some(username) = &login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password);
    }
    settings
}

fn address(options: &RedisOptions, server: &Address) -> ConnectionAddr {
    let Address { host, port } = server.clone();
    match options.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn certificates(options: &RedisOptions) -> TlsCertificates {
    let files = &options.tls_files;
    let identity = files.identity.clone();
    TlsCertificates {
        client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        root_cert: files.ca.clone(),
    }
}
