//! A Redis Cluster of three masters or more, with or without replicas.
//!
//! Owns the processes. Slots can be moved between masters, and masters stopped.

use std::ffi::OsString;
use std::path::Path;

use gim_proto::slot_of;

use super::instance::{Instance, server, until};
use super::tls::Certificates;
use super::{DEADLINE, free_port};
use crate::store::{RedisOptions, TlsFiles};

/// As many as there are unless told otherwise, and at least.
const MASTERS: usize = 3;
/// Milliseconds of silence after which the cluster counts a server as down.
const NODE_TIMEOUT_MS: &str = "1000";

/// See the module.
#[derive(Debug)]
pub struct RedisCluster {
    certificates: Option<Certificates>,
    masters: usize,
    servers: Vec<Instance>,
}

impl RedisCluster {
    /// Starts three masters.
    pub async fn start() -> Self {
        Self::start_with(None, 0).await
    }

    /// Starts three masters that speak TLS only, also among themselves.
    pub async fn start_tls() -> Self {
        Self::start_with(Some(Certificates::mint()), 0).await
    }

    /// Starts three masters with so many replicas each, and waits until they serve all slots.
    pub async fn start_with(certificates: Option<Certificates>, replicas: usize) -> Self {
        Self::start_of(MASTERS, certificates, replicas).await
    }

    /// Starts so many masters, three at least, with so many replicas each, and waits until they serve all slots.
    pub async fn start_of(masters: usize, certificates: Option<Certificates>, replicas: usize) -> Self {
        let mut servers = Vec::new();
        for _ in 0..masters * (1 + replicas) {
            servers.push(member(certificates.as_ref()).await);
        }
        let cluster = Self { certificates, masters, servers };
        cluster.unite(replicas).await;
        cluster
    }

    /// What a client needs to reach it.
    #[must_use]
    pub fn options(&self) -> RedisOptions {
        let files = self.certificates.as_ref().map_or_else(TlsFiles::default, Certificates::of_client);
        RedisOptions::parse(&self.url()).expect("a URL").tls_files(files)
    }

    /// Its URL, with all servers.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "rediss-cluster" } else { "redis-cluster" };
        format!("{scheme}://{}", self.addresses().join(","))
    }

    /// The process ids of all servers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Instance::pid).collect()
    }

    /// Where the files of the first server are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.servers[0].folder()
    }

    /// The port of a server.
    #[must_use]
    pub fn port(&self, index: usize) -> u16 {
        self.servers[index].port()
    }

    /// The index of the server that holds a key's slot, as the first that lives knows it.
    pub async fn holder_of(&self, key: &str) -> usize {
        self.known_holder_of(key).await.expect("a master that holds the slot")
    }

    // None while nobody does: it has failed and no replica has taken over.
    async fn known_holder_of(&self, key: &str) -> Option<usize> {
        let slot = slot_of(key);
        for server in &self.servers {
            let nodes = server.ask(&["CLUSTER", "NODES"]).await;
            if let Some(port) = nodes.lines().find_map(|line| holds(line, slot)) {
                return Some(self.index_of(port));
            }
        }
        None
    }

    /// Moves the slot of a key, with what is in it, to another master. Tells its index.
    pub async fn move_slot_of(&self, key: &str) -> usize {
        let from = self.holder_of(key).await;
        let to = (from + 1) % self.masters;
        self.open_move(key, from, to).await;
        self.close_move(key, from, to).await;
        to
    }

    /// Begins to move the slot of a key: what is in it stays where it is, what is not is asked for at the other master.
    pub async fn open_move(&self, key: &str, from: usize, to: usize) {
        let slot = slot_of(key).to_string();
        let (source, target) = (self.id_of(from).await, self.id_of(to).await);
        self.tell(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
        self.tell(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
    }

    /// Ends a move that has begun: what is in the slot goes, then the slot.
    pub async fn close_move(&self, key: &str, from: usize, to: usize) {
        let slot = slot_of(key).to_string();
        let port = self.servers[to].port().to_string();
        loop {
            let keys = self.tell(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let move_keys = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            self.tell(from, &[&move_keys[..], &keys].concat()).await;
        }
        let target = self.id_of(to).await;
        // The new holder first: it tells the others.
        for index in [to, from].into_iter().chain((0..self.masters).filter(|index| *index != to && *index != from)) {
            self.tell(index, &["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
        }
    }

    /// Runs a command on one server as a user who may do everything, and returns what redis-cli prints.
    pub async fn tell(&self, index: usize, command: &[&str]) -> String {
        self.servers[index].tell(command).await
    }

    /// Runs a command on all servers as a user who may do everything.
    pub async fn tell_all(&self, command: &[&str]) {
        for server in &self.servers {
            server.tell(command).await;
        }
    }

    /// Kills a server, as a crash does.
    pub fn stop(&mut self, index: usize) {
        self.servers[index].stop();
    }

    /// Starts a server again and waits until it serves its slots. It remembers them, but no keys.
    pub async fn restart(&mut self, index: usize) {
        self.servers[index].restart().await;
        self.serves().await;
    }

    /// Stops a server in the middle of whatever it does, without closing a connection.
    pub fn freeze(&self, index: usize) {
        self.servers[index].freeze();
    }

    /// Lets a server go on.
    pub fn thaw(&self, index: usize) {
        self.servers[index].thaw();
    }

    /// Waits until another server than this one holds the key's slot. Tells its index.
    pub async fn failed_over(&self, key: &str, from: usize) -> usize {
        let mut holder = from;
        until("a replica that took over", async || {
            holder = self.known_holder_of(key).await.unwrap_or(from);
            holder != from && self.servers[holder].ask(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        })
        .await;
        holder
    }

    fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect()
    }

    fn index_of(&self, port: u16) -> usize {
        self.servers.iter().position(|server| server.port() == port).expect("one of the servers")
    }

    async fn id_of(&self, index: usize) -> String {
        self.tell(index, &["CLUSTER", "MYID"]).await
    }

    async fn unite(&self, replicas: usize) {
        let addresses = self.addresses();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        let replicas = replicas.to_string();
        create.extend(["--cluster-replicas", &replicas, "--cluster-yes"]);
        let said = tokio::time::timeout(DEADLINE * 2, self.servers[0].ask(&create)).await.expect("a cluster in time");
        assert!(said.contains("All 16384 slots covered"), "{said}");
        self.serves().await;
    }

    // Every server sees every slot served, and every replica is in step.
    async fn serves(&self) {
        until("a cluster that serves all slots", async || {
            for server in &self.servers {
                let ready = server.ask(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok");
                let role = server.ask(&["ROLE"]).await;
                if !ready || role.starts_with("slave") && !role.contains("connected") {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

async fn member(tls: Option<&Certificates>) -> Instance {
    let arguments = |port, folder: &Path| -> Vec<OsString> {
        let bus = free_port().to_string();
        let mut own =
            vec!["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-port", &bus];
        own.extend(["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"]);
        if tls.is_some() {
            own.extend(["--tls-cluster", "yes", "--tls-replication", "yes"]);
        }
        server(port, folder, tls, &own)
    };
    Instance::start(&arguments, tls).await
}

// `ID HOST:PORT@BUS FLAGS MASTER PING PONG EPOCH LINK SLOTS...`: the port of a line whose server holds the slot.
fn holds(line: &str, slot: u16) -> Option<u16> {
    let mut words = line.split(' ');
    let (address, flags) = (words.nth(1)?, words.next()?);
    if !flags.contains("master") || flags.contains("fail") {
        return None;
    }
    let held = words.skip(5).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u16>().is_ok_and(|first| last.parse::<u16>().is_ok_and(|last| (first..=last).contains(&slot)))
    });
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    held.then_some(port)
}
