//! The same Redis for fred, which the directory goes by in a cluster: pipelined, aware of slots, reconnecting by itself.
//!
//! Owns the translation of the options, nothing else.

use std::time::Duration;

use ::fred::clients::Client;
use ::fred::error::Error;
use ::fred::types::Builder;
use ::fred::types::config::{
    ClusterDiscoveryPolicy, Config, ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector,
    UnresponsiveConfig,
};

use super::address::{Address, Topology};
use super::options::TlsFiles;
use super::wire::client_config;
use super::{RedisOptions, StoreError, StoreErrorKind};

/// Commands that wait for a connection or an answer, at most. Further ones fail at once.
const IN_FLIGHT: usize = 100_000;
const FIRST_RECONNECT_MS: u32 = 50;
const LAST_RECONNECT_MS: u32 = 2_000;

/// Makes a fred client, not connected yet. Once initialised it reconnects for ever, with growing pauses.
///
/// # Errors
/// The certificates are not acceptable.
pub fn fred_client(options: &RedisOptions) -> Result<Client, StoreError> {
    let mut config = Config {
        username: options.login.username.clone(),
        password: options.login.password.clone(),
        server: server(options),
        fail_fast: true,
        ..Config::default()
    };
    if let Topology::Standalone { database, .. } = options.topology()
        && *database > 0
    {
        config.database = Some(*database);
    }
    if options.tls {
        config.tls = Some(tls(&options.tls_files)?);
    }
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_exponential(0, FIRST_RECONNECT_MS, LAST_RECONNECT_MS, 2));
    builder.with_performance_config(|performance| performance.default_command_timeout = options.call_timeout);
    builder.with_connection_config(|connection| {
        connection.connection_timeout = options.connect_timeout;
        connection.internal_command_timeout = options.connect_timeout;
        connection.max_command_buffer_len = IN_FLIGHT;
        connection.reconnect_on_auth_error = true;
        // A slot that moved is looked up anew, and the call that found out fails without effect. fred's own way of
        // following a slot that is on the move asks the old master again, and takes answers of other calls for its own.
        connection.max_redirections = 0;
        connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        // A server that is silent for longer than any call may take is given up, and the connection made anew.
        connection.unresponsive =
            UnresponsiveConfig { max_timeout: Some(options.call_timeout * 2), interval: Duration::from_secs(1) };
    });
    builder.build().map_err(wrong)
}

fn server(options: &RedisOptions) -> ServerConfig {
    let of = |address: &Address| Server::new(address.host.clone(), address.port);
    match options.topology() {
        Topology::Standalone { server, .. } => ServerConfig::Centralized { server: of(server) },
        Topology::Cluster { seeds } => {
            ServerConfig::Clustered { hosts: seeds.iter().map(of).collect(), policy: ClusterDiscoveryPolicy::default() }
        }
        Topology::Sentinel { sentinels, service } => ServerConfig::Sentinel {
            hosts: sentinels.iter().map(of).collect(),
            service_name: service.clone(),
            username: options.sentinel_login.username.clone(),
            password: options.sentinel_login.password.clone(),
        },
    }
}

fn tls(files: &TlsFiles) -> Result<TlsConfig, StoreError> {
    Ok(TlsConnector::from(client_config(files)?).into())
}

fn wrong(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError { kind: StoreErrorKind::Refused, code: None, source: Some(Box::new(error)) }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        use ::fred::error::ErrorKind as Fred;
        let code: Option<Box<str>> = error
            .details()
            .split_whitespace()
            .next()
            .filter(|word| word.chars().all(|c| c.is_ascii_uppercase()))
            .map(Box::from);
        let kind = match (error.kind(), code.as_deref()) {
            (_, Some("OOM")) => StoreErrorKind::Full,
            (Fred::Auth, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => StoreErrorKind::Denied,
            (
                _,
                Some("LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" | "MISCONF"),
            ) => StoreErrorKind::Unavailable,
            // A connection that went while the call was on its way, or an answer that did not come.
            (Fred::Timeout | Fred::IO | Fred::Canceled, _) => StoreErrorKind::Unknown,
            (Fred::Backpressure | Fred::Cluster | Fred::Sentinel | Fred::Routing, _) => StoreErrorKind::Unavailable,
            (Fred::Protocol | Fred::Parse, _) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Refused,
        };
        Self { kind, code, source: Some(Box::new(error)) }
    }
}
