//! Very many want one uid at once, on all nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::{eventually, http, within};

const LOGINS: usize = 200;
/// In which they come.
const SPAN: Duration = Duration::from_secs(2);
/// How long a client that is slow to close takes.
const LATE: Duration = Duration::from_millis(400);
/// How long one stays that does not stay.
const SOON: Duration = Duration::from_millis(15);
/// Messages to the uid meanwhile.
const MESSAGES: u64 = 40;
const UID: &str = "wanted";

/// What a client does once it is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Reads until it is closed.
    Stays,
    /// Reads nothing for a while, so that it answers its close late.
    ReadsLate,
    /// Goes soon, by a reset.
    Vanishes,
    /// Goes soon, and comes back on another node with its session.
    Resumes,
}

impl Way {
    /// Who stays keeps out all others under `reject`: there nobody does but a few, and these come late.
    fn of(number: usize, policy: &str) -> Self {
        match (number % 5, policy) {
            (0..=2, "reject") if number % 50 != 25 => Self::Vanishes,
            (0 | 1, _) => Self::Stays,
            (2, _) => Self::ReadsLate,
            (3, _) => Self::Vanishes,
            _ => Self::Resumes,
        }
    }
}

/// What one client saw.
#[derive(Default)]
struct Fate {
    node: usize,
    fence: u64,
    /// The numbers of the messages it got.
    pushes: Vec<u64>,
    close: Option<u16>,
    is_open: bool,
    refused: bool,
}

#[derive(Clone)]
struct Storm {
    publics: Arc<[SocketAddr]>,
    /// False while the storm lasts; then whoever is left is asked what it saw.
    over: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_logins_on_three_nodes_one_is_left_whatever_the_policy() {
    for policy in ["replace", "reject", "close_both"] {
        let cluster = Cluster::start(Spec::new(2).set("session.on_duplicate", policy), 3, 1).await;
        rage(&cluster, policy).await;
    }
}

async fn rage(cluster: &Cluster, policy: &str) {
    let begun = Instant::now();
    let (end, over) = watch::channel(false);
    let publics = cluster.nodes.iter().map(|node| node.public).collect();
    let storm = Storm { publics, over, open: Arc::default() };
    let mut clients = JoinSet::new();
    for number in 0..LOGINS {
        clients.spawn(storm.clone().client(number, Way::of(number, policy)));
    }
    let messages = async {
        for n in 1..=MESSAGES {
            let node = &cluster.nodes[usize::try_from(n).unwrap() % cluster.nodes.len()];
            http::push(node.admin, &json!({ "to_uid": UID, "data": { "n": n } })).await;
            sleep(SPAN / u32::try_from(MESSAGES).unwrap()).await;
        }
    };
    messages.await;
    sleep(LATE).await;
    // Those who are left agree with what the nodes hold.
    eventually("at most one session to be left", || async {
        let open = storm.open.load(Ordering::SeqCst);
        let held = cluster.of_nodes("gim_sessions", "").await;
        (open <= 1 && (held - open as f64).abs() < 0.5).then_some(())
    })
    .await;
    // Where everybody may be gone, somebody comes once more, and is served.
    if storm.open.load(Ordering::SeqCst) == 0 {
        let last = storm.clone();
        clients.spawn(async move { last.visit(1, None, Way::Stays).await });
        eventually("a last login", || async { (storm.open.load(Ordering::SeqCst) == 1).then_some(()) }).await;
    }
    http::push(cluster.nodes[0].admin, &json!({ "to_uid": UID, "data": { "n": MESSAGES + 1 } })).await;
    http::settled(cluster.nodes[0].admin).await;
    let shown = cluster.shown(UID).await;
    end.send_replace(true);
    let fates = within("all clients to tell", clients.join_all()).await;

    let open: Vec<&Fate> = fates.iter().filter(|fate| fate.is_open).collect();
    let count = |code| fates.iter().filter(|fate| fate.close == Some(code)).count();
    eprintln!(
        "storm, {policy}: {} clients, {} left, {} replaced, {} already connected, {} refused, in {:.1?}",
        fates.len(),
        open.len(),
        count(4501),
        count(4504),
        fates.iter().filter(|fate| fate.refused).count(),
        begun.elapsed()
    );
    assert_eq!(open.len(), 1);
    let left = open[0];
    for shown in shown {
        let (node, fence) = (&cluster.nodes[left.node].id, left.fence);
        assert_eq!((&shown["online"], &shown["node"], &shown["fence"]), (&json!(true), &json!(node), &json!(fence)));
    }
    assert_eq!(left.pushes.last(), Some(&(MESSAGES + 1)), "the one left gets what comes next");
    let mut all: Vec<u64> = fates.iter().flat_map(|fate| fate.pushes.iter().copied()).collect();
    assert_eq!(all.iter().filter(|n| **n > MESSAGES).count(), 1, "and nobody else does");
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "some message was seen twice: {all:?}");
    assert!(fates.iter().all(|fate| fate.pushes.is_sorted()), "some messages came out of order");
    if policy == "replace" {
        assert!(fates.iter().all(|fate| fate.fence <= left.fence), "the highest fence is left");
        assert_eq!(count(4504), 0);
    } else {
        assert_eq!(count(4501), 0);
    }
}

impl Storm {
    /// One client, which comes at its own moment.
    async fn client(self, number: usize, way: Way) -> Fate {
        // Scattered, and the same in each run.
        let moment = (number * 7_919) % 1_000;
        sleep(SPAN * u32::try_from(moment).unwrap() / 1_000).await;
        self.visit((number * 31) % self.publics.len(), None, way).await
    }

    async fn visit(&self, node: usize, session: Option<String>, way: Way) -> Fate {
        let mut fate = Fate { node, ..Fate::default() };
        let path = format!("/ws?uid={UID}&msg_code=1&session={}", session.unwrap_or_default());
        let Ok(mut client) = Client::try_open(self.publics[node], &path).await else {
            fate.refused = true;
            return fate;
        };
        if way == Way::ReadsLate {
            sleep(LATE).await;
        }
        let soon = matches!(way, Way::Vanishes | Way::Resumes);
        let mut over = self.over.clone();
        let leave = async {
            if soon {
                sleep(SOON).await;
            } else {
                let _ = over.wait_for(|over| *over).await;
            }
        };
        let session = self.read(&mut client, &mut fate, leave).await;
        if !fate.is_open || !soon {
            return fate;
        }
        fate.is_open = false;
        self.open.fetch_sub(1, Ordering::SeqCst);
        drop(client);
        if way == Way::Resumes {
            let next = (node + 1) % self.publics.len();
            let mut back = Box::pin(self.visit(next, session, Way::Stays)).await;
            fate.pushes.append(&mut back.pushes);
            back.pushes = fate.pushes;
            return back;
        }
        fate
    }

    /// Notes everything up to the connection's end, or until `leave` and nothing more is there.
    async fn read(&self, client: &mut Client, fate: &mut Fate, leave: impl Future<Output = ()>) -> Option<String> {
        tokio::pin!(leave);
        let mut session = None;
        loop {
            let message = tokio::select! {
                biased;
                message = client.next() => message,
                () = &mut leave => break,
            };
            match message {
                Some(Message::Close(close)) => fate.close = close.map(|close| close.code.into()),
                None => {
                    if std::mem::take(&mut fate.is_open) {
                        self.open.fetch_sub(1, Ordering::SeqCst);
                    }
                    return session;
                }
                Some(message) => {
                    let frame: Value = serde_json::from_slice(&message.into_data()).unwrap();
                    let a = &frame["response"]["a"];
                    if frame["cmd"] == "gim.welcome" {
                        session = a["session"].as_str().map(str::to_owned);
                        fate.fence = a["fence"].as_u64().unwrap();
                        fate.is_open = true;
                        self.open.fetch_add(1, Ordering::SeqCst);
                    } else if frame["msgType"] == 3 {
                        fate.pushes.push(a["n"].as_u64().unwrap());
                    }
                }
            }
        }
        session
    }
}
