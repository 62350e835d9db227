//! Very many come at once: who is let in, who is told to come back and when, and that nobody who is connected notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use gim_ws_node::{Identity, Refusal, UpgradeRequest};

use crate::support::client::Client;
use crate::support::http::{self, Response, exchange, read_response};
use crate::support::node::TestNode;
use crate::support::raw::upgrade_head;
use crate::support::{eventually, within};

async fn handshake(node: &TestNode, uid: &str) -> Response {
    exchange(node.public, upgrade_head(&format!("/ws?uid={uid}")).as_bytes()).await
}

/// How long a refused client is to stay away.
#[track_caller]
fn told(response: &Response) -> u64 {
    response.expect_error(503);
    let after = response.header("retry-after").and_then(|value| value.parse().ok());
    let after = after.unwrap_or_else(|| panic!("no whole seconds: {:?}", response.header("retry-after")));
    assert!((1..=60).contains(&after), "Retry-After: {after}");
    after
}

/// What `/sysinfo` says of logins.
async fn logins(node: &TestNode) -> Value {
    http::get(node.admin, "/sysinfo").await.1["logins"].take()
}

/// The sum over the lines of a metric that contain this text.
async fn metric(node: &TestNode, name: &str, label: &str) -> f64 {
    let text = http::respond("GET", node.admin, "/metrics", &[], b"").await.text();
    let mine = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
    mine.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")).sum()
}

/// Everything a storm took is given back, but for so many connections that stay.
async fn is_over(node: &TestNode, connections: u64) {
    eventually("the storm to have left nothing behind", || async {
        let (_, found) = http::get(node.admin, "/sysinfo").await;
        let left = (&found["logins"]["under_way"], &found["logins"]["waiting"], &found["connections"]);
        (left == (&json!(0), &json!(0), &json!(connections))).then_some(())
    })
    .await;
}

/// Somebody who is connected while others come, and to whom numbered messages go.
struct Resident {
    client: Client,
    sent: u64,
}

impl Resident {
    async fn new(node: &TestNode) -> Self {
        Self { client: Client::user(node.public, "resident").await, sent: 0 }
    }

    /// One message there and one command back: in order, and nothing else.
    async fn lives(&mut self, node: &TestNode) {
        self.sent += 1;
        http::push(node.admin, &json!({ "to_uid": "resident", "data": { "n": self.sent } })).await;
        self.client.expect_body(json!({ "n": self.sent })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_the_burst_is_let_in_and_the_others_when_they_come_as_told() {
    const RATE: u32 = 10;
    const BURST: u32 = 60;
    const CROWD: u32 = 110;
    // The resident takes one of the burst.
    let node = TestNode::start_with(|config| {
        (config.limits.logins_per_second, config.limits.login_burst) = (RATE, BURST + 1);
    })
    .await;
    let begun = Instant::now();
    let mut resident = Resident::new(&node).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let node = node.clone();
        crowd.spawn(async move { (number, handshake(&node, &format!("u{number}")).await) });
    }
    resident.lives(&node).await;
    let (welcome, refused): (Vec<_>, Vec<_>) =
        crowd.join_all().await.into_iter().partition(|(_, response)| response.status == 101);
    // No more than the rate allowed meanwhile, which is none on a machine that is not busy.
    let more = begun.elapsed().as_secs_f64() * f64::from(RATE);
    let welcome = u32::try_from(welcome.len()).unwrap();
    assert!(
        welcome >= BURST && f64::from(welcome - BURST) <= more,
        "{welcome} were let in, {more:.1} more than the burst"
    );
    let counted = metric(&node, "gim_logins_put_off_total", r#"why="rate""#).await;
    assert_eq!(counted as usize, refused.len());

    // No more are told to come within a second than are let in within it, and the last no later than all of them need.
    let mut backs: Vec<u64> = refused.iter().map(|(_, response)| told(response)).collect();
    backs.sort_unstable();
    let seconds = u64::from((CROWD - welcome).div_ceil(RATE)) + 1;
    assert!(backs.iter().all(|after| *after <= seconds), "{backs:?}");
    for second in 1..=seconds {
        let then = backs.iter().filter(|after| **after == second).count();
        assert!(then as f64 <= f64::from(RATE + 1) + more, "{then} in second {second}: {backs:?}");
    }

    // Whoever does as told is let in at once. The bucket holds what is not taken in these few seconds.
    let mut back = JoinSet::new();
    for (number, response) in refused {
        let (node, after) = (node.clone(), Duration::from_secs(told(&response)));
        back.spawn(async move {
            tokio::time::sleep(after).await;
            handshake(&node, &format!("u{number}")).await.status
        });
    }
    resident.lives(&node).await;
    let statuses = within("everybody to come back", back.join_all()).await;
    assert!(statuses.iter().all(|status| *status == 101), "{statuses:?}");
    resident.lives(&node).await;
    resident.client.expect_silence().await;
    is_over(&node, 1).await;
}

/// Nobody is asked about a login that is refused: the crowd costs the application and the directory nothing.
#[tokio::test]
async fn a_refused_login_is_not_put_before_the_application() {
    let asked = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&asked);
    let node = TestNode::build(
        |config| (config.limits.logins_per_second, config.limits.login_burst) = (1, 5),
        |builder| {
            builder.authorize(move |request: UpgradeRequest| {
                seen.fetch_add(1, Ordering::SeqCst);
                async move { Ok(Identity::uid(request.query("uid").unwrap_or_default())?) }
            })
        },
    )
    .await;
    let mut welcome = 0;
    for number in 0..50 {
        welcome += u64::from(handshake(&node, &format!("u{number}")).await.status == 101);
    }
    assert!((5..50).contains(&welcome), "{welcome}");
    assert_eq!(asked.load(Ordering::SeqCst), welcome);
    is_over(&node, 0).await;
}

/// The application takes its time. So many logins are under way as may be, so many wait as may, the others come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_waits_in_order_behind_a_slow_application_and_who_finds_no_place_is_put_off() {
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let node = TestNode::build(
        |config| {
            (config.limits.logins_at_once, config.limits.logins_waiting) = (4, 10);
            config.limits.handshake = crate::support::DEADLINE;
            config.session.handler_deadline = crate::support::DEADLINE;
        },
        |builder| {
            builder.authorize(move |request: UpgradeRequest| {
                let gate = Arc::clone(&gate);
                async move {
                    let uid = request.query("uid").unwrap_or_default().to_owned();
                    if uid != "resident" {
                        gate.acquire().await.map_err(|_| Refusal::forbidden("closed"))?.forget();
                    }
                    Ok(Identity::uid(&uid)?)
                }
            })
        },
    )
    .await;
    let mut resident = Resident::new(&node).await;
    let mut crowd = JoinSet::new();
    for number in 0..40 {
        let node = node.clone();
        crowd.spawn(async move { handshake(&node, &format!("u{number}")).await });
    }
    eventually("the places to be taken", || async {
        let found = logins(&node).await;
        let counts = (&found["under_way"], &found["waiting"], &found["put_off"]);
        (counts == (&json!(4), &json!(10), &json!(26))).then_some(())
    })
    .await;
    assert_eq!(metric(&node, "gim_logins_put_off_total", r#"why="crowd""#).await as u64, 26);
    assert_eq!(metric(&node, "gim_logins_under_way", "").await as u64, 4);
    assert_eq!(metric(&node, "gim_logins_waiting", "").await as u64, 10);
    // Who is connected goes on meanwhile.
    resident.lives(&node).await;
    open.add_permits(14);
    let answers = crowd.join_all().await;
    let welcome = answers.iter().filter(|answer| answer.status == 101).count();
    assert_eq!(welcome, 14);
    answers.iter().filter(|answer| answer.status != 101).for_each(|answer| assert!(told(answer) >= 1));
    resident.lives(&node).await;
    is_over(&node, 1).await;
}

#[tokio::test]
async fn who_waits_until_the_deadline_is_put_off_and_who_leaves_is_forgotten() {
    let node = TestNode::build(
        |config| {
            (config.limits.logins_at_once, config.limits.handshake) = (1, Duration::from_millis(500));
            config.session.handler_deadline = Duration::from_secs(5);
        },
        |builder| builder.authorize(|_: UpgradeRequest| std::future::pending::<Result<Identity, Refusal>>()),
    )
    .await;
    let mut crowd = JoinSet::new();
    for number in 0..20 {
        let node = node.clone();
        crowd.spawn(async move { handshake(&node, &format!("u{number}")).await });
    }
    // Some do not wait for an answer.
    for number in 0..20 {
        let mut stream = TcpStream::connect(node.public).await.unwrap();
        stream.write_all(upgrade_head(&format!("/ws?uid=v{number}")).as_bytes()).await.unwrap();
    }
    for answer in crowd.join_all().await {
        assert!(told(&answer) >= 1);
    }
    // Those whose turn came in the last moment are late too, but were not kept waiting until then.
    assert!(metric(&node, "gim_logins_put_off_total", r#"why="late""#).await >= 1.0);
    is_over(&node, 0).await;
}

/// Thousands, each a login of its own with a rate that lets in a few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_refused_logins_leaves_nothing_behind() {
    const CROWD: usize = 3_000;
    let node =
        TestNode::start_with(|config| (config.limits.logins_per_second, config.limits.login_burst) = (1, 5)).await;
    let mut resident = Resident::new(&node).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let theirs = node.clone();
        crowd.spawn(async move { handshake(&theirs, &format!("u{number}")).await });
        if number % 500 == 0 {
            resident.lives(&node).await;
        }
    }
    let answers = crowd.join_all().await;
    let backs: Vec<u64> = answers.iter().filter(|answer| answer.status != 101).map(told).collect();
    assert!(backs.len() > CROWD - 100, "{} refused", backs.len());
    // For most there is no place within a minute. They are scattered over its second half.
    let late = backs.iter().filter(|after| **after > 30).count();
    assert!(late > backs.len() / 2, "{late}");
    for second in 31..=59 {
        let then = backs.iter().filter(|after| **after == second).count();
        assert!(then <= CROWD / 20, "{then} in second {second}");
    }
    resident.lives(&node).await;
    resident.client.expect_silence().await;
    is_over(&node, 1).await;
}

/// Everybody is let in who comes, when there is no rate: also where there are thousands, and who is connected gets
/// everything meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_log_in_at_once_and_who_is_connected_misses_nothing() {
    const CROWD: usize = 3_000;
    let node = TestNode::start_with(|config| config.limits.handshake = Duration::from_mins(1)).await;
    let mut resident = Resident::new(&node).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let public = node.public;
        crowd.spawn(async move {
            let mut stream = TcpStream::connect(public).await.expect("the listener accepts");
            let head = upgrade_head(&format!("/acc?uid=u{number}"));
            stream.write_all(head.as_bytes()).await.expect("the connection stands");
            (read_response(&mut stream).await.status, stream)
        });
        if number % 100 == 99 {
            resident.lives(&node).await;
        }
    }
    let answers = within("everybody to be let in", crowd.join_all()).await;
    assert!(answers.iter().all(|(status, _)| *status == 101));
    let (_, found) = http::get(node.admin, "/sysinfo").await;
    assert_eq!(found["managerInfo"]["clientsLen"], CROWD + 1);
    resident.lives(&node).await;
    resident.client.expect_silence().await;
    drop(answers);
    is_over(&node, 1).await;
}
