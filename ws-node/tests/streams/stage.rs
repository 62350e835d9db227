//! A node of mode `redis` and, beside it, whoever writes to its streams.

use gim_proto::Keys;
use gim_proxy_sdk::testing::{prefix, shared_redis};
use gim_ws_node::NodeBuilder;
use gim_ws_node::config::Config;
use serde_json::Value;

use crate::resp::{Reply, Resp, command};
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::TestNode;

/// A node, its keys, and a connection to its Redis.
pub(crate) struct Stage {
    pub(crate) node: TestNode,
    pub(crate) keys: Keys,
    pub(crate) redis: Resp,
}

/// Fields of an entry as they are written: in order, names and values as bytes.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A dead letter as it stands in Redis.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) fields: Pairs,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(tune: impl FnOnce(&mut Config)) -> Self {
        Self::build(tune, |builder| builder).await
    }

    pub(crate) async fn build(tune: impl FnOnce(&mut Config), extend: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        Self::over(&prefix(), tune, extend).await
    }

    /// A node over keys that may be there already.
    pub(crate) async fn over(
        prefix: &str,
        tune: impl FnOnce(&mut Config),
        extend: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let tuned = |config: &mut Config| {
            prefix.clone_into(&mut config.prefix);
            tune(config);
        };
        let node = TestNode::build(tuned, extend).await;
        let redis = Resp::connect(shared_redis().await.port()).await;
        Self { node, keys: Keys::new(prefix).expect("a prefix"), redis }
    }

    /// Puts an entry on a lane. Returns the id that Redis gave it.
    pub(crate) async fn add<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, lane: u16, fields: &[(N, V)]) -> String {
        self.add_as(lane, "*", fields).await
    }

    /// The same with an id of one's own.
    pub(crate) async fn add_as<N, V>(&mut self, lane: u16, id: &str, fields: &[(N, V)]) -> String
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut bytes = Vec::new();
        xadd(&mut bytes, &self.keys.queue(lane), id, fields);
        self.redis.send(&bytes).await;
        self.redis.reply().await.text()
    }

    /// Waits until everything accepted and due has its outcome.
    pub(crate) async fn settled(&self) {
        http::settled(self.node.admin).await;
    }

    /// The dead letters of a lane, the oldest first.
    pub(crate) async fn letters(&mut self, lane: u16) -> Vec<Letter> {
        let dead = self.keys.dead(lane);
        let letters = self.redis.call(&["XRANGE", &dead, "-", "+"]).await.array();
        letters.into_iter().map(Letter::read).collect()
    }

    /// Connects a user, who joins these groups.
    pub(crate) async fn user(&self, uid: &str, groups: &[&str]) -> Client {
        let mut client = Client::user(self.node.public, uid).await;
        for tgid in groups {
            client.join(tgid).await;
        }
        client
    }

    /// How often targets came to this outcome, over all lanes.
    pub(crate) async fn outcomes(&self, outcome: &str) -> u64 {
        let label = format!("outcome=\"{outcome}\"");
        let text = http::respond("GET", self.node.admin, "/metrics", &[], b"").await.text();
        let of = |line: &&str| line.starts_with("gim_worker_outcomes_total{") && line.contains(&label);
        let values = text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        values.sum()
    }
}

impl Letter {
    fn read(entry: Reply) -> Self {
        let [id, fields]: [Reply; 2] = entry.array().try_into().expect("an id and fields");
        Self { id: id.text(), fields: pairs(fields) }
    }

    /// The one value of this name, as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found: Vec<_> = self.fields.iter().filter(|(other, _)| other == name.as_bytes()).collect();
        let [(_, value)] = &found[..] else { panic!("{} fields {name} in {self:?}", found.len()) };
        std::str::from_utf8(value).expect("UTF-8")
    }

    pub(crate) fn failed_targets(&self) -> Value {
        serde_json::from_str(self.text("gim_failed_targets")).expect("JSON")
    }
}

/// Names and values that Redis lists one after the other.
pub(crate) fn pairs(flat: Reply) -> Pairs {
    let mut flat = flat.array().into_iter();
    let mut pairs = Pairs::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((name.bytes(), value.bytes()));
    }
    pairs
}

/// Writes an XADD.
pub(crate) fn xadd<N: AsRef<[u8]>, V: AsRef<[u8]>>(out: &mut Vec<u8>, stream: &str, id: &str, fields: &[(N, V)]) {
    let mut words: Vec<&[u8]> = vec![b"XADD", stream.as_bytes(), id.as_bytes()];
    for (name, value) in fields {
        words.extend([name.as_ref(), value.as_ref()]);
    }
    command(out, &words);
}
