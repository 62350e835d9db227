//! What is sent while everything fails: durable messages to users, to several users and to groups, beside live and latest.
//!
//! Owns the count of each target and what was accepted of it: by `XADD`, which answered, or over HTTP, with 202. Each message
//! has an id, so that what was not answered is sent again until it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use gim_proto::entry::Target;
use gim_proto::{Keys, Tgid, Uid, lane_of};
use gim_proxy_sdk::store::Link;
use gim_proxy_sdk::testing::RedisServer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::support::node::Spec;
use crate::support::{now_ms, within};

/// How long a node may take to answer before another is asked.
const ANSWER: Duration = Duration::from_secs(3);

/// Who there is: users `u0`.. each in one of the groups `g0`.., of each of which `x0`.. is a member who is never there.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) users: usize,
    pub(crate) groups: usize,
}

/// The targets of durable messages that a user gets.
pub(crate) fn durable_targets(crowd: Crowd, uid: &str) -> Vec<String> {
    let number: usize = uid[1..].parse().expect("a number");
    if uid.starts_with('x') {
        return vec![format!("g{number}")];
    }
    let several = (0..crowd.users).filter(|first| several(crowd, *first).contains(&number));
    [format!("u{number}"), format!("g{}", number % crowd.groups)]
        .into_iter()
        .chain(several.map(|first| format!("m{first}")))
        .collect()
}

/// The users of a message to several.
fn several(crowd: Crowd, first: usize) -> [usize; 3] {
    [first, (first + 1) % crowd.users, (first + 5) % crowd.users]
}

/// The way in.
enum Way {
    Redis(Keys, NonZeroU16, Link),
    Http,
}

/// See the module.
pub(crate) struct Flow {
    crowd: Crowd,
    redis: Option<Way>,
    admins: Vec<SocketAddr>,
    turn: usize,
    /// Of each target, when each number was accepted, Unix milliseconds.
    pub(crate) accepted: BTreeMap<String, Vec<u64>>,
}

impl Flow {
    pub(crate) fn new(crowd: Crowd, admins: Vec<SocketAddr>) -> Self {
        Self { crowd, redis: None, admins, turn: 0, accepted: BTreeMap::new() }
    }

    /// Half of it goes to Redis by hand.
    pub(crate) fn by_hand(mut self, spec: &Spec, redis: &RedisServer) -> Self {
        let lanes = NonZeroU16::new(spec.lane_count()).expect("a lane");
        self.redis = Some(Way::Redis(spec.keys(), lanes, redis.store().link(Arc::from("any"))));
        self
    }

    pub(crate) fn count(&self, kinds: &str) -> usize {
        let of_kind = self.accepted.iter().filter(|(target, _)| target.starts_with(|first| kinds.contains(first)));
        of_kind.map(|(_, accepted)| accepted.len()).sum()
    }

    /// A handful of messages, accepted when this returns.
    pub(crate) async fn some(&mut self) {
        self.turn += 1;
        let (turn, Crowd { users, groups }) = (self.turn, self.crowd);
        let mut messages: Vec<(String, Value)> = (0..4).map(|at| self.durable((turn * 4 + at) % users)).collect();
        messages.push(self.to(format!("l{}", turn % users), json!({ "to_uid": format!("u{}", turn % users) })));
        if turn % 5 == 0 {
            let group = (turn / 5) % groups;
            messages.push(self.to(format!("g{group}"), json!({ "tgid": format!("g{group}"), "class": "durable" })));
            let user = (turn / 5) % users;
            let latest = json!({ "to_uid": format!("u{user}"), "class": "latest", "key": "score" });
            messages.push(self.to(format!("v{user}"), latest));
        }
        // By hand a message to several users would be of one lane.
        let is_several = turn % 5 == 1;
        if is_several {
            let first = (turn / 5) % users;
            let to: Vec<String> = several(self.crowd, first).iter().map(|user| format!("u{user}")).collect();
            messages.push(self.to(format!("m{first}"), json!({ "to_uids": to, "class": "durable" })));
        }
        let by_hand = self.redis.as_ref().filter(|_| !is_several && turn % 2 == 0);
        match by_hand.unwrap_or(&Way::Http) {
            Way::Redis(keys, lanes, link) => add(keys, *lanes, link, &messages).await,
            Way::Http => post(&self.admins, &messages, turn).await,
        }
        let at = now_ms();
        for (target, _) in messages {
            self.accepted.entry(target).or_default().push(at);
        }
    }

    fn durable(&self, user: usize) -> (String, Value) {
        self.to(format!("u{user}"), json!({ "to_uid": format!("u{user}"), "class": "durable" }))
    }

    /// The next message of a target. Each target is named once in a handful.
    fn to(&self, target: String, mut fields: Value) -> (String, Value) {
        let number = self.accepted.get(&target).map_or(0, Vec::len) + 1;
        fields["id"] = format!("{target}.{number}").into();
        fields["data"] = json!({ "t": target, "n": number });
        (target, fields)
    }
}

async fn add(keys: &Keys, lanes: NonZeroU16, link: &Link, messages: &[(String, Value)]) {
    let mut pipe = redis::pipe();
    for (_, fields) in messages {
        let name = |key: &str| fields[key].as_str();
        let target = match (name("to_uid"), name("tgid")) {
            (Some(uid), _) => Target::User(Uid::parse(uid).expect("a uid")),
            (_, tgid) => Target::Group(Tgid::parse(tgid.expect("a target")).expect("a tgid")),
        };
        let add = pipe.cmd("XADD").arg(keys.queue(lane_of(&target, lanes))).arg("*");
        for (key, value) in fields.as_object().expect("an object") {
            add.arg(key).arg(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    pipe.atomic();
    let mut pause = interval(Duration::from_millis(20));
    within("redis to accept", async {
        while link.pipe::<Vec<String>>(&pipe).await.is_err() {
            pause.tick().await;
        }
    })
    .await;
}

async fn post(admins: &[SocketAddr], messages: &[(String, Value)], turn: usize) {
    let body = Value::from_iter(messages.iter().map(|(_, fields)| fields.clone())).to_string();
    let mut pause = interval(Duration::from_millis(20));
    within("a node to accept", async {
        for admin in admins.iter().cycle().skip(turn % admins.len()) {
            match timeout(ANSWER, try_post(*admin, &body)).await {
                Ok(Some((202, _))) => return,
                Ok(Some((400..=499, answer))) => panic!("{answer} to {body}"),
                _ => {}
            }
            pause.tick().await;
        }
    })
    .await;
}

/// Status and answer. By hand: the node may end while it is asked.
async fn try_post(admin: SocketAddr, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
}
