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
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gim_proto::slot_of;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::{Address, Topology};
use super::options::Login;
use super::{RedisOptions, Store, StoreError, StoreErrorKind};

/// The master of one key, as something a pool can connect to.
#[derive(Clone, Debug)]
pub struct Home {
    pub(super) store: Store,
    pub(super) key: Arc<str>,
    /// Why the last attempt to connect failed.
    pub(super) failed: watch::Sender<StoreErrorKind>,
}

/// The first and the last of a range of slots, and the master who has them.
pub(crate) type Range = (u16, u16, Address);

impl Store {
    /// Makes a connection to the master that holds a key's slot. `response` bounds every call on it; None: not at all,
    /// for reads that block, which the caller bounds.
    ///
    /// # Errors
    /// Nothing was sent yet: every error but a refused login is [`StoreErrorKind::Unavailable`].
    pub async fn connect(&self, key: &str, response: Option<Duration>) -> Result<MultiplexedConnection, StoreError> {
        let options = self.options();
        // Finding the master and connecting to it take a bounded time each.
        let most = options.connect_timeout * 2;
        // Boxed: whoever awaits a call would otherwise carry all ways to connect within its own future.
        let connecting = Box::pin(connect(options, key, response));
        timeout(most, connecting).await.map_err(|_| StoreError::unreachable())?
    }

    /// Makes a connection to one server, whatever it holds.
    pub(super) async fn connect_at(
        &self,
        server: &Address,
        response: Option<Duration>,
    ) -> Result<MultiplexedConnection, StoreError> {
        let options = self.options();
        let config = config(options, response);
        let client = client(options, server, 0).map_err(StoreError::of_connecting)?;
        let connecting = Box::pin(client.get_multiplexed_async_connection_with_config(&config));
        connecting.await.map_err(StoreError::of_connecting)
    }

    /// Asks these servers of a cluster who has which slots, and believes the first who says it.
    pub(crate) async fn ranges(&self, asked: &[Address]) -> Result<Vec<Range>, StoreError> {
        let asking = ask_seeds(self.options(), asked, |slots, asked| {
            Some(homes(slots, asked)).filter(|ranges| !ranges.is_empty())
        });
        timeout(self.options().deadline(), asking).await.map_err(|_| StoreError::unreachable())?
    }
}

fn config(options: &RedisOptions, response: Option<Duration>) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(options.connect_timeout)).set_response_timeout(response)
}

async fn connect(
    options: &RedisOptions,
    key: &str,
    response: Option<Duration>,
) -> Result<MultiplexedConnection, StoreError> {
    let config = config(options, response);
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

/// Where a master is.
pub(super) struct Master {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u8,
}

/// Finds the master that holds a key's slot, for whoever connects by itself.
pub(super) async fn find(options: &RedisOptions, key: &str) -> Result<Master, StoreError> {
    let at = |Address { host, port }: Address, database: u8| Master { host, port, database };
    match options.topology() {
        Topology::Standalone { server, database } => Ok(at(server.clone(), *database)),
        Topology::Cluster { seeds } => master_of(options, seeds, key).await.map(|server| at(server, 0)),
        Topology::Sentinel { sentinels, service } => {
            let mut client = sentinel_client(options, sentinels, service).map_err(StoreError::of_connecting)?;
            let client = client.async_get_client().await.map_err(StoreError::of_connecting)?;
            match client.get_connection_info().addr().clone() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    Ok(Master { host, port, database: 0 })
                }
                _ => Err(StoreError::unreachable()),
            }
        }
    }
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

/// Finds the master of a key's slot.
async fn master_of(options: &RedisOptions, seeds: &[Address], key: &str) -> Result<Address, StoreError> {
    let slot = i64::from(slot_of(key));
    ask_seeds(options, seeds, |slots, asked| holder(slots, slot, asked)).await
}

/// Asks all seeds at once who holds what, and takes the first answer that says it: one that hangs holds nobody up.
pub(super) async fn ask_seeds<T>(
    options: &RedisOptions,
    seeds: &[Address],
    find: impl Fn(&Value, &Address) -> Option<T>,
) -> Result<T, StoreError> {
    let mut last = StoreError::unreachable();
    // Collected first: rustc cannot prove otherwise that the future is `Send`.
    let asking: Vec<_> = seeds.iter().map(|seed| async move { (seed, ask_slots(options, seed).await) }).collect();
    let mut asking: FuturesUnordered<_> = asking.into_iter().collect();
    while let Some((seed, slots)) = asking.next().await {
        match slots.map(|slots| find(&slots, seed)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = StoreError::of_connecting(error),
        }
    }
    Err(last)
}

async fn ask_slots(options: &RedisOptions, seed: &Address) -> ::redis::RedisResult<Value> {
    let config = config(options, Some(options.call_timeout));
    let mut seed = client(options, seed, 0)?.get_multiplexed_async_connection_with_config(&config).await?;
    ::redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut seed).await
}

fn holder(slots: &Value, slot: i64, asked: &Address) -> Option<Address> {
    let ranges = ranges(slots);
    let mut ranges = ranges.iter();
    let range = ranges.find(|range| in_range(range, slot).unwrap_or(false))?;
    master(range, asked)
}

/// Names every master of a cluster, each once.
pub(super) fn masters(slots: &Value, asked: &Address) -> Vec<Address> {
    let mut masters: Vec<Address> = Vec::new();
    for master in ranges(slots).iter().filter_map(|range| master(range, asked)) {
        if !masters.contains(&master) {
            masters.push(master);
        }
    }
    masters
}

/// Names the master of every range of slots.
fn homes(slots: &Value, asked: &Address) -> Vec<Range> {
    let home = |range: &&[Value]| {
        let (Value::Int(first), Value::Int(last)) = (range.first()?, range.get(1)?) else { return None };
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, master(range, asked)?))
    };
    ranges(slots).iter().filter_map(home).collect()
}

// Answer: ranges of slots, each [first, last, [host, port, id, ...], replicas...].
fn ranges(slots: &Value) -> Vec<&[Value]> {
    let Value::Array(ranges) = slots else { return Vec::new() };
    let slices = ranges.iter().map(|range| if let Value::Array(range) = range { range.as_slice() } else { &[] });
    slices.collect()
}

fn in_range(range: &[Value], slot: i64) -> Option<bool> {
    let (Value::Int(first), Value::Int(last)) = (range.first()?, range.get(1)?) else { return None };
    Some((*first..=*last).contains(&slot))
}

fn master(range: &[Value], asked: &Address) -> Option<Address> {
    let Value::Array(master) = range.get(2)? else { return None };
    let Value::Int(port) = master.get(1)? else { return None };
    let host = match master.first()? {
        Value::BulkString(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
        // A server that does not know its own name: the one it was reached by.
        _ => asked.host.clone(),
    };
    Some(Address { host, port: u16::try_from(*port).ok()? })
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
    // The library names itself by `CLIENT SETINFO`. Not that it matters, nor whether it is known and allowed: but the
    // answer proves the connection, so that one which a server refuses late (TLS 1.3) is not taken for made.
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

/// Settles on this library's cryptography where the program has not chosen one. With two in one program the TLS
/// library would panic instead of choosing.
pub(super) fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // An error means that somebody else has chosen meanwhile.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn certificates(options: &RedisOptions) -> TlsCertificates {
    choose_cryptography();
    let files = &options.tls_files;
    let identity = files.identity.clone();
    TlsCertificates {
        client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        root_cert: files.ca.clone(),
    }
}
