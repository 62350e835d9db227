//! A service of mode `cluster`: Redis, etcd, nodes and one worker, each a process of its own, and what they spend.
//!
//! Nodes and worker share the server's core, Redis and etcd the load client's.

use std::path::Path;

use gim_proxy_sdk::testing::EtcdServer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::args::Settings;
use crate::fanout::GROUP;
use crate::load::Load;
use crate::machine::Cores;
use crate::node::Node;
use crate::post::Poster;
use crate::process::{self, Cpu};
use crate::program::Program;
use crate::redis::Redis;
use crate::turn::Spent;
use crate::{Result, clock};

pub(crate) struct Service {
    pub(crate) servers: Servers,
    pub(crate) redis: Redis,
}

/// What stands on a Redis, or on several: nodes, a worker, and the etcd of both.
pub(crate) struct Servers {
    pub(crate) nodes: Vec<Node>,
    pub(crate) worker: Program,
    etcd: EtcdServer,
}

/// CPU seconds of each process: since it began, or of one turn.
#[derive(Clone)]
pub(crate) struct Usage {
    pub(crate) nodes: Vec<Cpu>,
    pub(crate) worker: Cpu,
    pub(crate) redis: f64,
    pub(crate) etcd: f64,
    /// Of all load clients together.
    load: f64,
    conductor: f64,
    /// Everything on the machine.
    busy: f64,
    /// Wall clock.
    pub(crate) wall: f64,
}

impl Service {
    /// Starts one. Every part of it is ready.
    pub(crate) fn start(nodes: usize, settings: &Settings, cores: Cores) -> Result<Self> {
        let redis = Redis::start(settings)?;
        let servers = Servers::start(nodes, &redis.url(), &[], redis.folder(), redis.runtime(), cores)?;
        Ok(Self { servers, redis })
    }

    /// Where clients connect, all nodes in turn.
    pub(crate) fn public(&self) -> String {
        self.servers.public()
    }

    pub(crate) fn worker_pid(&self) -> u32 {
        self.servers.worker.pid()
    }

    /// The first node, which is the only one where there is one.
    pub(crate) fn node_pid(&self) -> u32 {
        self.servers.nodes.first().map_or(0, Node::pid)
    }

    /// Puts a message to the group on the stream, by `XADD`.
    pub(crate) fn push(&mut self, id: Option<&str>, payload: &str) -> Result<()> {
        let stream = self.redis.stream();
        let mut add = ::redis::pipe();
        add.cmd("XADD").arg(stream).arg("*").arg("tgid").arg(GROUP).arg("data").arg(payload);
        if let Some(id) = id {
            add.arg("id").arg(id);
        }
        self.redis.pipe::<Vec<String>>(&add)?;
        Ok(())
    }

    /// How many batches all nodes did, and how many they did not do.
    pub(crate) fn batches(&self) -> Result<Batches> {
        let mut all = Batches::default();
        for node in &self.servers.nodes {
            all.add(&Poster::connect(node.admin)?.metrics()?);
        }
        Ok(all)
    }

    pub(crate) fn usage(&self, loads: &[Load]) -> Result<Usage> {
        let total = |pid: u32| process::cpu(pid).map(|cpu| cpu.total);
        Ok(Usage {
            nodes: self.servers.nodes.iter().map(|node| process::cpu(node.pid())).collect::<Result<_>>()?,
            worker: process::cpu(self.servers.worker.pid())?,
            redis: total(self.redis.pid())?,
            etcd: total(self.servers.etcd.pid())?,
            load: loads.iter().map(|load| total(load.pid())).sum::<Result<f64>>()?,
            conductor: total(std::process::id())?,
            busy: process::machine_busy_seconds()?,
            wall: clock::now() as f64 / 1e9,
        })
    }
}

impl Servers {
    /// Starts so many nodes and a worker, all told the same further settings. Every part of it is ready.
    pub(crate) fn start(
        nodes: usize,
        redis: &str,
        settings: &[String],
        folder: &Path,
        runtime: &Runtime,
        cores: Cores,
    ) -> Result<Self> {
        let etcd = runtime.block_on(EtcdServer::start());
        let stands_on = [format!("redis.url={redis}"), format!("etcd.endpoints={}", etcd.endpoint())];
        let cluster: Vec<String> =
            ["mode=cluster".to_owned()].iter().chain(&stands_on).chain(settings).cloned().collect();
        let node = |number: usize| {
            let id = format!("n{number}");
            Node::among(&cluster, &id, &folder.join(&id), cores)
        };
        let nodes = (1..=nodes).map(node).collect::<Result<_>>()?;
        let own = ["node.id=w1", "node.threads=1", "listen.admin=127.0.0.1:0"];
        let told: Vec<&str> = cluster.iter().map(String::as_str).chain(own).collect();
        let worker = Program::start("msg-queue", &told, &folder.join("w1"), "worker runs", cores)?;
        Ok(Self { nodes, worker, etcd })
    }

    /// Where clients connect, all nodes in turn.
    pub(crate) fn public(&self) -> String {
        self.nodes.iter().map(|node| node.public.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Ends the programs by SIGTERM, one after the other, and waits until they have.
    pub(crate) fn end(self) -> Result<()> {
        self.nodes.into_iter().try_for_each(Node::end)?;
        self.worker.end()
    }
}

/// Batches by what became of them, counted by the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batches {
    pub(crate) done: u64,
    /// Refused, or of a kind that no healthy cluster has.
    pub(crate) not_done: u64,
}

impl Batches {
    fn add(&mut self, metrics: &str) {
        for line in metrics.lines().filter(|line| line.starts_with("gim_batches_total{")) {
            let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok()).unwrap_or(0);
            match line.contains(r#"verdict="done""#) {
                true => self.done += count,
                false => self.not_done += count,
            }
        }
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self { done: self.done - before.done, not_done: self.not_done - before.not_done }
    }
}

impl Usage {
    /// What was spent since an earlier reading.
    pub(crate) fn since(&self, before: &Self) -> Self {
        self.with(before, |now, before| now - before)
    }

    /// What was spent in either.
    pub(crate) fn and(&self, other: &Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    fn with(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        let cpu = |one: &Cpu, other: &Cpu| Cpu { user: of(one.user, other.user), total: of(one.total, other.total) };
        Self {
            nodes: self.nodes.iter().zip(&other.nodes).map(|(one, other)| cpu(one, other)).collect(),
            worker: cpu(&self.worker, &other.worker),
            redis: of(self.redis, other.redis),
            etcd: of(self.etcd, other.etcd),
            load: of(self.load, other.load),
            conductor: of(self.conductor, other.conductor),
            busy: of(self.busy, other.busy),
            wall: of(self.wall, other.wall),
        }
    }

    /// Of all nodes together.
    pub(crate) fn all_nodes(&self) -> Cpu {
        let sum = |of: fn(&Cpu) -> f64| self.nodes.iter().map(of).sum();
        Cpu { user: sum(|cpu| cpu.user), total: sum(|cpu| cpu.total) }
    }

    /// Of nodes and worker.
    pub(crate) fn servers(&self) -> Cpu {
        let nodes = self.all_nodes();
        Cpu { user: nodes.user + self.worker.user, total: nodes.total + self.worker.total }
    }

    /// Of all processes of the service.
    pub(crate) fn whole(&self) -> f64 {
        self.servers().total + self.redis + self.etcd
    }

    /// By everything on the machine but the bench and its service.
    pub(crate) fn others(&self) -> f64 {
        (self.busy - self.whole() - self.load - self.conductor).max(0.0)
    }

    /// In the form that other parts have it: nodes and worker are the server.
    pub(crate) fn spent(&self) -> Spent {
        let (redis, conductor) = (self.redis, self.conductor);
        Spent { server: self.servers(), redis, conductor, others: self.others(), wall: self.wall }
    }

    pub(crate) fn to_json(&self) -> Value {
        let cpu = |cpu: &Cpu| json!({ "total": cpu.total, "user": cpu.user });
        json!({
            "nodes": self.nodes.iter().map(cpu).collect::<Vec<_>>(), "worker": cpu(&self.worker), "redis": self.redis,
            "etcd": self.etcd, "load_clients": self.load, "others": self.others(), "wall": self.wall,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_told_by_their_verdicts() {
        let mut batches = Batches::default();
        let one = "gim_batches_total{verdict=\"done\"} 3\ngim_batches_total{verdict=\"refused\"} 1\n";
        batches.add(&format!("# TYPE gim_batches_total counter\n{one}gim_batches_other{{verdict=\"done\"}} 9\n"));
        batches.add(one);
        assert_eq!(batches, Batches { done: 6, not_done: 2 });
        assert_eq!(batches.since(Batches { done: 5, not_done: 2 }), Batches { done: 1, not_done: 0 });
    }
}
