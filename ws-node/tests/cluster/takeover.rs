//! A user comes while the node of the connection before cannot be asked.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::link::Mode;
use crate::support::node::Spec;
use crate::support::program::Program;
use crate::support::{eventually, http, within};

const TGID: &str = "g";
/// How long a holder is asked, with what a busy machine adds.
const ASKED: Duration = Duration::from_secs(1);
/// The lease of a node, and what it takes to see that it has ended.
const LEASE: Duration = Duration::from_secs(15);

async fn back(node: &Program, session: &str) -> Client {
    Client::connect(node.public, &format!("/ws?uid=u&msg_code=1&session={session}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_served_at_once_and_the_connection_before_ends_when_its_node_can_be_reached() {
    let cluster = Cluster::start(Spec::new(2), 3, 1).await;
    let [n1, n2, n3] = &cluster.nodes[..] else { panic!("three nodes") };
    for mode in [Mode::Cut, Mode::Silent] {
        let mut first = Client::user(n1.public, "u").await;
        first.join(TGID).await;
        n1.called.set(mode);
        let begun = Instant::now();
        let mut second = back(n2, first.session()).await;
        assert!(begun.elapsed() < ASKED, "{:?}", begun.elapsed());
        assert_eq!(second.welcome["groups"], json!([TGID]));
        for (n, target) in [(1, json!({ "to_uid": "u" })), (2, json!({ "tgid": TGID }))] {
            let mut message = target;
            message["data"] = json!({ "n": n });
            http::push(n3.admin, &message).await;
            second.expect_body(json!({ "n": n })).await;
        }
        n1.called.set(Mode::Pass);
        let healed = Instant::now();
        let mut seen = Vec::new();
        let code = within("the connection before to end", async {
            loop {
                match first.next().await {
                    Some(tokio_tungstenite::tungstenite::Message::Close(close)) => {
                        break close.map(|close| u16::from(close.code));
                    }
                    Some(message) => seen.push(message.to_string()),
                    None => break None,
                }
            }
        })
        .await;
        eprintln!(
            "{mode:?}: the connection before ended {:.1?} after its node was reached again, {seen:?}",
            healed.elapsed()
        );
        assert_eq!(code, Some(4501));
        // A group message may still find it on its way there; what is for the user follows the fence.
        let direct = seen.iter().filter(|frame| frame.contains(r#""msgType":3"#)).count();
        assert_eq!(direct, 0, "it still got {seen:?}");
        cluster.agrees("u", "n2", second.fence()).await;
        second.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_before_ends_also_if_the_newcomer_s_node_dies_before_it_could_tell() {
    const FENCED: u16 = 4003;
    let mut cluster = Cluster::start(Spec::new(2), 3, 1).await;
    let mut first = Client::user(cluster.nodes[0].public, "u").await;
    first.join(TGID).await;
    cluster.nodes[0].called.set(Mode::Cut);
    let second = back(&cluster.nodes[1], first.session()).await;
    cluster.nodes[1].kill();
    cluster.nodes[0].called.set(Mode::Pass);
    drop(second);
    let begun = Instant::now();
    let code = within("the connection before to end", async {
        loop {
            match first.next().await {
                Some(tokio_tungstenite::tungstenite::Message::Close(close)) => {
                    break close.map(|close| u16::from(close.code));
                }
                Some(_) => {}
                None => break None,
            }
        }
    })
    .await;
    eprintln!("the connection before ended {:.1?} after the newcomer's node had died", begun.elapsed());
    assert_eq!(code, Some(FENCED));
    assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
    let mut again = back(&cluster.nodes[2], first.session()).await;
    http::push(cluster.nodes[2].admin, &json!({ "to_uid": "u", "data": { "n": 1 } })).await;
    again.expect_body(json!({ "n": 1 })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_who_may_not_replace_waits_for_a_silent_holder_until_its_lease_has_ended() {
    for policy in ["reject", "close_both"] {
        let mut cluster = Cluster::start(Spec::new(2).set("session.on_duplicate", policy), 2, 1).await;
        let first = Client::user(cluster.nodes[0].public, "u").await;
        let [n1, n2] = &cluster.nodes[..] else { panic!("two nodes") };
        n1.called.set(Mode::Silent);
        let answer = http::respond("GET", n2.public, "/ws?uid=u", &UPGRADE, b"").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok()));
        n1.called.set(Mode::Pass);
        cluster.agrees("u", "n1", first.fence()).await;

        cluster.nodes[0].kill();
        let begun = Instant::now();
        let n2 = cluster.nodes[1].public;
        let second = eventually("the newcomer to be served", || async {
            let served = Client::try_open(n2, "/ws?uid=u&msg_code=1").await;
            if served.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
            served.ok()
        })
        .await;
        eprintln!("{policy}: served {:.1?} after the holder's node had died", begun.elapsed());
        assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
        drop((first, second));
    }
}

/// Many come from a node that does not answer, and one login at once may be under way: none waits for another's wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_s_turn_lasts_as_long_as_a_silent_node_is_waited_for() {
    const CROWD: usize = 20;
    for (policy, status) in [("replace", 101), ("reject", 503)] {
        let spec = Spec::new(2).set("session.on_duplicate", policy).set("limits.logins_at_once", 1);
        let cluster = Cluster::start(spec, 2, 1).await;
        let [n1, n2] = &cluster.nodes[..] else { panic!("two nodes") };
        let mut before = Vec::new();
        for number in 0..CROWD {
            before.push(Client::user(n1.public, &format!("u{number}")).await);
        }
        n1.called.set(Mode::Silent);
        let begun = Instant::now();
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            let n2 = n2.public;
            crowd.spawn(async move {
                let path = format!("/ws?uid=u{number}");
                http::respond("GET", n2, &path, &UPGRADE, b"").await.status
            });
        }
        let statuses = within("everybody to be answered", crowd.join_all()).await;
        let took = begun.elapsed();
        eprintln!("{policy}: {CROWD} answered in {took:.1?}");
        assert!(statuses.iter().all(|answer| *answer == status), "{statuses:?}");
        // One after the other they would take 300 ms each.
        assert!(took < Duration::from_secs(3), "{took:?}");
        n1.called.set(Mode::Pass);
        if policy == "replace" {
            for client in before {
                client.expect_close(4501).await;
            }
        }
    }
}

const UPGRADE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
