//! A node dies and its clients come to the other all at once, each by the rules of the example client.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::backoff::Backoff;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::{http, within};

const CLIENTS: usize = 120;
/// Logins per second, and in a row, of each node.
const RATE: u32 = 20;

/// One of those who come back.
struct Comer {
    uid: String,
    /// Where a balancer sends it: to nodes that live.
    node: watch::Receiver<SocketAddr>,
    backoff: Backoff,
    session: String,
    /// Told of each login.
    logins: mpsc::Sender<Login>,
    /// Told of each push.
    pushes: mpsc::Sender<Value>,
}

#[derive(Debug)]
struct Login {
    node: SocketAddr,
    at: Instant,
    /// How often it was told to come back before.
    refused: u64,
    /// How many groups it got back.
    groups: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_node_that_died_are_all_back_at_the_other_and_not_faster_than_it_takes_them() {
    let spec = Spec::new(2).set("limits.logins_per_second", RATE).set("limits.login_burst", RATE);
    let mut cluster = Cluster::start(spec, 2, 1).await;
    let [first, other] = [cluster.nodes[0].public, cluster.nodes[1].public];
    let mut resident = Client::user(other, "resident").await;
    let (balancer, node) = watch::channel(first);
    let (logins, mut seen) = mpsc::channel(CLIENTS);
    let (pushes, mut pushed) = mpsc::channel(CLIENTS);
    let mut comers = JoinSet::new();
    for number in 0..CLIENTS {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let (node, logins, pushes) = (node.clone(), logins.clone(), pushes.clone());
        let uid = format!("comer-{number}");
        comers.spawn(Comer { uid, node, backoff, session: String::new(), logins, pushes }.live());
    }
    for _ in 0..CLIENTS {
        let login: Login = within("everybody to log in", seen.recv()).await.expect("clients live");
        assert_eq!(login.node, first);
    }
    let before = cluster.nodes[1].metric("gim_logins_put_off_total", "").await;
    assert!(before < 0.5, "{before}");

    let begun = Instant::now();
    balancer.send_replace(other);
    cluster.nodes[0].kill();
    let mut back = Vec::new();
    for n in 0..CLIENTS {
        let login = within("everybody to be back", seen.recv()).await.expect("clients live");
        assert_eq!(login.node, other);
        back.push(login);
        // Who was connected there all the time goes on.
        if n % 20 == 0 {
            http::push(cluster.nodes[1].admin, &json!({ "to_uid": "resident", "data": { "n": n } })).await;
            resident.expect_body(json!({ "n": n })).await;
        }
    }
    let took = begun.elapsed();
    back.sort_by_key(|login| login.at);
    for (number, login) in (1..).zip(&back) {
        let most = f64::from(RATE) * (1.0 + login.at.duration_since(begun).as_secs_f64());
        assert!(f64::from(number) <= most, "{number} were let in within {:?}", login.at.duration_since(begun));
    }
    let refused: u64 = back.iter().map(|login| login.refused).sum();
    let most = back.iter().map(|login| login.refused).max();
    eprintln!("{CLIENTS} clients back in {took:.1?}, {refused} times refused, the unluckiest {most:?} times");
    assert!(refused > 0, "nobody was refused");
    assert!(back.iter().all(|login| login.groups == 1), "somebody came back without its group");
    let counted = cluster.nodes[1].metric("gim_logins_put_off_total", r#"why="rate""#).await;
    assert_eq!(counted as u64, refused, "and that is all who were");
    http::push(cluster.nodes[1].admin, &json!({ "tgid": "comers", "data": { "n": 1 } })).await;
    for _ in 0..CLIENTS {
        let push = within("a message to all of them to find all of them", pushed.recv()).await.expect("clients live");
        assert_eq!(push, json!({ "n": 1 }));
    }
    resident.expect_silence().await;
    comers.shutdown().await;
}

impl Comer {
    /// Connects, stays until it is cut, and comes back.
    async fn live(mut self) {
        let mut refused = 0;
        loop {
            let node = *self.node.borrow();
            let wait = match self.connect(node).await {
                Ok(socket) => {
                    self.stay(node, socket, std::mem::take(&mut refused)).await;
                    self.backoff.next_wait()
                }
                Err(Error::Http(answer)) => {
                    assert_eq!(answer.status(), 503, "{}", self.uid);
                    let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                    refused += 1;
                    self.backoff.next_wait_after(Duration::from_secs(after.expect("whole seconds")))
                }
                Err(_) => self.backoff.next_wait(),
            };
            sleep(wait).await;
        }
    }

    async fn connect(&self, node: SocketAddr) -> Result<WebSocketStream<TcpStream>, Error> {
        let stream = TcpStream::connect(node).await?;
        let url = format!("ws://{node}/ws?uid={}&msg_code=1&session={}", self.uid, self.session);
        Ok(client_async(url, stream).await?.0)
    }

    /// Reads until the connection is cut.
    async fn stay(&mut self, node: SocketAddr, mut socket: WebSocketStream<TcpStream>, refused: u64) {
        let mut is_member = false;
        while let Some(Ok(message)) = socket.next().await {
            let frame: Value = serde_json::from_slice(&message.into_data()).unwrap_or_default();
            if frame["cmd"] == "gim.welcome" {
                let fields = &frame["response"]["a"];
                fields["session"].as_str().expect("a session").clone_into(&mut self.session);
                self.backoff.reset();
                let groups = fields["groups"].as_array().map_or(0, Vec::len);
                if groups == 0 && !is_member {
                    is_member = true;
                    let join = json!({ "seq": "1", "cmd": "gim.join", "data": { "tgid": "comers" } }).to_string();
                    let joined = socket.send(join.into()).await;
                    assert!(joined.is_ok(), "{}", self.uid);
                    continue;
                }
                let _told = self.logins.send(Login { node, at: Instant::now(), refused, groups }).await;
            } else if frame["seq"] == "1" {
                let _told = self.logins.send(Login { node, at: Instant::now(), refused, groups: 0 }).await;
            } else if frame["msgType"] == 2 {
                let _told = self.pushes.send(frame["response"]["a"].clone()).await;
            }
        }
    }
}
