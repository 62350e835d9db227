//! A master with a replica, and three sentinels that agree on which is which.
//!
//! Owns the processes. A failover takes about a second: half of it until the sentinels miss the master.

use std::ffi::OsString;
use std::path::Path;

use super::instance::{Instance, server, until, words};
use super::tls::Certificates;
use crate::store::{RedisOptions, TlsFiles};

const SERVICE: &str = "main";
/// Milliseconds of silence after which a sentinel counts a server as down.
const DOWN_AFTER_MS: u16 = 500;
// Sentinel's own rhythms, made quicker, and its mistrust of a machine that is busy, taken away. It promotes only a
// replica it has heard of within five ping periods, and while a master is down it asks a replica once a second, which
// is fixed: pings more often than every 200 ms have it find no good replica, and wait twice the failover timeout.
const RHYTHM: [&str; 12] = [
    "info-period",
    "300",
    "publish-period",
    "200",
    "ping-period",
    "300",
    "ask-period",
    "200",
    "tilt-trigger",
    "60000",
    "tilt-period",
    "1000",
];

/// See the module.
#[derive(Debug)]
pub struct SentinelSet {
    certificates: Option<Certificates>,
    servers: Vec<Instance>,
    sentinels: Vec<Instance>,
}

impl SentinelSet {
    /// Starts one and waits until the sentinels could fail over.
    pub async fn start() -> Self {
        Self::start_with(None, &[]).await
    }

    /// Starts one that speaks TLS only, also among itself.
    pub async fn start_tls() -> Self {
        Self::start_with(Some(Certificates::mint()), &[]).await
    }

    /// Starts one whose servers have further arguments.
    pub async fn start_with(certificates: Option<Certificates>, further: &[&str]) -> Self {
        let tls = certificates.as_ref();
        let mut servers = Vec::with_capacity(2);
        for _ in 0..2 {
            let master = servers.first().map(Instance::port);
            servers.push(member(tls, master, further).await);
        }
        let master = servers.first().map(Instance::port).expect("a master");
        let mut sentinels = Vec::with_capacity(3);
        for _ in 0..3 {
            let arguments = |port, folder: &Path| sentinel(port, folder, tls, master);
            let instance = Instance::start(&arguments, tls).await;
            instance.tell(&[&["SENTINEL", "DEBUG"], &RHYTHM[..]].concat()).await;
            sentinels.push(instance);
        }
        let set = Self { certificates, servers, sentinels };
        set.agreed().await;
        set
    }

    /// What a client needs to reach the master.
    #[must_use]
    pub fn options(&self) -> RedisOptions {
        self.options_of(SERVICE)
    }

    /// What a client needs that looks for a master by another name.
    #[must_use]
    pub fn options_of(&self, service: &str) -> RedisOptions {
        let (scheme, files) = match &self.certificates {
            None => ("redis-sentinel", TlsFiles::default()),
            Some(certificates) => ("rediss-sentinel", certificates.of_client()),
        };
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        RedisOptions::parse(&format!("{scheme}://{}/{service}", hosts.join(","))).expect("a URL").tls_files(files)
    }

    /// The port of the server that the sentinels name.
    pub async fn current_master(&self) -> u16 {
        let mut ports = Vec::new();
        until("a sentinel that answers", async || {
            ports = self.named().await;
            !ports.is_empty()
        })
        .await;
        ports[0]
    }

    /// Kills the master, as a crash does. Tells its port.
    pub async fn stop_master(&mut self) -> u16 {
        let port = self.current_master().await;
        self.server_mut(port).stop();
        port
    }

    /// Starts a server again. The sentinels make it a replica of the present master.
    pub async fn restart(&mut self, port: u16) {
        self.server_mut(port).restart().await;
    }

    /// Asks for a failover while the master lives, and waits until it has become a replica. Tells the port of the new
    /// master. In between there are two masters, and what is written to the old one is lost.
    pub async fn fail_over(&self) -> u16 {
        let from = self.current_master().await;
        self.agreed().await;
        self.sentinels[0].tell(&["SENTINEL", "FAILOVER", SERVICE]).await;
        let to = self.failed_over(from).await;
        until("a master that became a replica", async || self.server(from).ask(&["ROLE"]).await.starts_with("slave"))
            .await;
        to
    }

    /// Waits until all sentinels name another master than this one, and it is one. Tells its port.
    pub async fn failed_over(&self, from: u16) -> u16 {
        let mut to = from;
        until("a failover", async || {
            let named = self.named().await;
            to = named.first().copied().unwrap_or(from);
            to != from
                && named.iter().all(|port| *port == to)
                && self.server(to).ask(&["ROLE"]).await.starts_with("master")
        })
        .await;
        to
    }

    /// Kills a sentinel, as a crash does.
    pub fn stop_sentinel(&mut self, index: usize) {
        self.sentinels[index].stop();
    }

    /// Stops a sentinel in the middle of whatever it does, without closing a connection.
    pub fn freeze_sentinel(&self, index: usize) {
        self.sentinels[index].freeze();
    }

    /// Lets a sentinel go on.
    pub fn thaw_sentinel(&self, index: usize) {
        self.sentinels[index].thaw();
    }

    /// Runs a command on master and replica as a user who may do everything.
    pub async fn tell_servers(&self, command: &[&str]) {
        for server in &self.servers {
            server.tell(command).await;
        }
    }

    /// Runs a command on all sentinels as a user who may do everything.
    pub async fn tell_sentinels(&self, command: &[&str]) {
        for sentinel in &self.sentinels {
            sentinel.tell(command).await;
        }
    }

    /// Runs a command on one server as a user who may do everything, and returns what redis-cli prints.
    pub async fn tell(&self, port: u16, command: &[&str]) -> String {
        self.server(port).tell(command).await
    }

    // The master's port as each sentinel that answers knows it.
    async fn named(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for sentinel in &self.sentinels {
            let answer = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await;
            ports.extend(answer.lines().nth(1).and_then(|port| port.parse::<u16>().ok()));
        }
        ports
    }

    // Each sentinel knows the two others and the replica, and the replica is in step.
    async fn agreed(&self) {
        until("sentinels that know each other", async || {
            for sentinel in &self.sentinels {
                let master = sentinel.ask(&["SENTINEL", "MASTER", SERVICE]).await;
                let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", SERVICE]).await;
                let known =
                    value(&master, "num-other-sentinels") == Some("2") && value(&master, "flags") == Some("master");
                if !known
                    || value(&replicas, "master-link-status") != Some("ok")
                    || value(&replicas, "flags") != Some("slave")
                {
                    return false;
                }
            }
            true
        })
        .await;
    }

    fn server(&self, port: u16) -> &Instance {
        self.servers.iter().find(|server| server.port() == port).expect("one of the two servers")
    }

    fn server_mut(&mut self, port: u16) -> &mut Instance {
        self.servers.iter_mut().find(|server| server.port() == port).expect("one of the two servers")
    }
}

// What redis-cli prints of a map: a line with the name, a line with the value.
fn value<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().skip_while(|line| *line != name).nth(1)
}

async fn member(tls: Option<&Certificates>, master: Option<u16>, further: &[&str]) -> Instance {
    let port_of_master = master.unwrap_or_default().to_string();
    let mut own = vec!["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    if tls.is_some() {
        own.extend(["--tls-replication", "yes"]);
    }
    if master.is_some() {
        own.extend(["--replicaof", "127.0.0.1", &port_of_master]);
    }
    own.extend(further);
    Instance::start(&|port, folder: &Path| server(port, folder, tls, &own), tls).await
}

// A sentinel rewrites its configuration, so it has one in a file.
fn sentinel(port: u16, folder: &Path, tls: Option<&Certificates>, master: u16) -> Vec<OsString> {
    let file = folder.join("sentinel.conf");
    let text = format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n\
         sentinel failover-timeout {SERVICE} 3000\n"
    );
    std::fs::write(&file, text).expect("a file");
    let mut arguments = vec![file.into_os_string()];
    match tls {
        None => arguments.extend(words(&["--port", &port.to_string()])),
        Some(tls) => {
            arguments.extend(tls.server_arguments(port));
            arguments.extend(words(&["--tls-replication", "yes"]));
        }
    }
    arguments.extend(words(&["--bind", "127.0.0.1", "--dir"]));
    arguments.push(folder.as_os_str().to_owned());
    arguments.extend(words(&["--sentinel"]));
    arguments
}
