//! A whole cluster: Redis, etcd, nodes and workers, all of them processes.

use std::collections::HashMap;

use futures_util::future::join_all;
use gim_proxy_sdk::testing::{EtcdServer, RedisServer};
use serde_json::Value;

use super::lanes::Lanes;
use super::node::Spec;
use super::program::{Kind, Program, Release, worker_program};
use super::traffic::{People, Traffic};
use super::{eventually, http, now_ms};

/// See the module.
pub(crate) struct Cluster {
    // Before the servers, so that none of them complains at its end.
    pub(crate) nodes: Vec<Program>,
    pub(crate) workers: Vec<Program>,
    pub(crate) redis: RedisServer,
    pub(crate) etcd: EtcdServer,
    pub(crate) spec: Spec,
    /// When the fault under way struck, Unix milliseconds.
    pub(crate) struck: u64,
}

impl Cluster {
    /// Starts so many nodes `n1`.. and workers `w1`.., and waits until they know each other and work on every lane.
    pub(crate) async fn start(spec: Spec, nodes: usize, workers: usize) -> Self {
        Self::on(RedisServer::start().await, spec, nodes, workers).await
    }

    /// The same on a Redis of the caller's.
    pub(crate) async fn on(redis: RedisServer, spec: Spec, nodes: usize, workers: usize) -> Self {
        Self::of(redis, spec, &vec![Release::This; nodes], &vec![Release::This; workers]).await
    }

    /// The same with programs of these releases.
    pub(crate) async fn of(redis: RedisServer, spec: Spec, nodes: &[Release], workers: &[Release]) -> Self {
        // Before anything is waited for: it may have to be built.
        tokio::task::spawn_blocking(worker_program).await.expect("the worker's program");
        let etcd = EtcdServer::start().await;
        let mut cluster = Self { nodes: Vec::new(), workers: Vec::new(), redis, etcd, spec, struck: 0 };
        for release in nodes {
            cluster.new_node().release = *release;
        }
        for release in workers {
            cluster.new_worker().release = *release;
        }
        let (nodes, workers) = (nodes.len(), workers.len());
        let programs = cluster.nodes.iter_mut().chain(&mut cluster.workers);
        join_all(programs.map(Program::start)).await;
        cluster.assembled().await;
        let at_work = if cluster.spec.has("worker.embedded=true") { nodes } else { workers };
        if at_work > 0 {
            cluster.spread(at_work).await;
        }
        cluster
    }

    /// So many nodes and workers of any mode: only in mode `cluster` do they know each other.
    pub(crate) async fn start_of_mode(spec: Spec, nodes: usize, workers: usize) -> Self {
        if spec.has("mode=cluster") {
            return Self::start(spec, nodes, workers).await;
        }
        let (redis, etcd) = (RedisServer::start().await, EtcdServer::start().await);
        let mut cluster = Self { nodes: Vec::new(), workers: Vec::new(), redis, etcd, spec, struck: 0 };
        for _ in 0..nodes {
            cluster.new_node();
        }
        join_all(cluster.nodes.iter_mut().map(Program::start)).await;
        cluster
    }

    /// From now on it is measured how long anybody waits.
    pub(crate) fn strikes(&mut self) {
        self.struck = now_ms();
    }

    /// A place for one node more, which is not started.
    pub(crate) fn new_node(&mut self) -> &mut Program {
        let id = format!("n{}", self.nodes.len() + 1);
        self.nodes.push(Program::new(Kind::Node, &id, &self.spec, &self.redis, &self.etcd));
        self.nodes.last_mut().expect("just added")
    }

    /// A place for one worker more, which is not started.
    pub(crate) fn new_worker(&mut self) -> &mut Program {
        let id = format!("w{}", self.workers.len() + 1);
        self.workers.push(Program::new(Kind::Worker, &id, &self.spec, &self.redis, &self.etcd));
        self.workers.last_mut().expect("just added")
    }

    /// A place for another process under the name of a node, which is none of the cluster.
    pub(crate) fn rival(&self, at: usize) -> Program {
        Program::new(Kind::Node, &self.nodes[at].id, &self.spec, &self.redis, &self.etcd)
    }

    /// Waits until every node lists all of them.
    pub(crate) async fn assembled(&self) {
        for node in &self.nodes {
            let what = format!("{} to know {} nodes", node.id, self.nodes.len());
            eventually(&what, || async {
                let (_, list) = http::get(node.admin, "/api/v1/nodes").await;
                (list["nodes"].as_array().map(Vec::len) == Some(self.nodes.len())).then_some(())
            })
            .await;
        }
    }

    /// Waits until the lanes are spread evenly over so many workers.
    pub(crate) async fn spread(&self, workers: usize) {
        let what = format!("the lanes to be spread over {workers} workers");
        let lanes = usize::from(self.spec.lane_count());
        let even: Vec<usize> = (0..workers).map(|worker| (lanes + worker) / workers).collect();
        eventually(&what, || async {
            let mut of: HashMap<String, usize> = HashMap::new();
            for owner in self.owners().await {
                *of.entry(owner).or_default() += 1;
            }
            let mut found: Vec<usize> = of.into_values().collect();
            found.sort_unstable();
            (found == even).then_some(())
        })
        .await;
    }

    /// Who works on each lane.
    async fn owners(&self) -> Vec<String> {
        let lanes = self.lanes();
        let mut owners = Vec::new();
        for lane in 0..self.spec.lane_count() {
            owners.push(lanes.owner(lane).await.0);
        }
        owners
    }

    pub(crate) fn lanes(&self) -> Lanes {
        Lanes::new(&self.spec, &self.redis)
    }

    pub(crate) fn traffic(&self, people: People) -> Traffic {
        Traffic::new(people, &self.spec, &self.redis)
    }

    /// What each node says of a user.
    pub(crate) async fn shown(&self, uid: &str) -> Vec<Value> {
        let path = format!("/api/v1/users/{uid}");
        let all = join_all(self.nodes.iter().map(|node| http::get(node.admin, &path))).await;
        all.into_iter().map(|(_, shown)| shown).collect()
    }

    /// Waits until every node names this owner: node and fence.
    pub(crate) async fn agrees(&self, uid: &str, node: &str, fence: u64) {
        let what = format!("all nodes to name {node} and {fence} as the owner of {uid}");
        let is_it = |shown: &Value| shown["online"] == true && shown["node"] == node && shown["fence"] == fence;
        eventually(&what, || async { self.shown(uid).await.iter().all(is_it).then_some(()) }).await;
    }

    /// The sum of a metric over all nodes.
    pub(crate) async fn of_nodes(&self, name: &str, label: &str) -> f64 {
        join_all(self.nodes.iter().map(|node| node.metric(name, label))).await.iter().sum()
    }

    /// The sum of a metric over all workers.
    pub(crate) async fn of_workers(&self, name: &str, label: &str) -> f64 {
        join_all(self.workers.iter().map(|worker| worker.metric(name, label))).await.iter().sum()
    }
}
