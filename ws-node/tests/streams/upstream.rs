//! The road up: commands without a handler are put on a stream that business applications read.

use std::time::Duration;

use gim_proxy_sdk::producer::{Producer, ProducerOptions};
use gim_proxy_sdk::testing::{RedisServer, shared_redis};
use gim_proxy_sdk::upstream::{Command, Delivery, Subscriber, SubscriberOptions};
use gim_ws_node::config::Config;
use gim_ws_node::{Context, HandlerError};
use serde_json::{Value, json};

use crate::stage::{Pairs, Stage, pairs};
use crate::support::client::Client;
use crate::support::node::{NAME, TestNode, unix_ms};
use crate::support::{http, within};

const ENABLED: fn(&mut Config) = |config| config.upstream.enabled = true;

impl Stage {
    /// What is on the stream, the oldest first.
    async fn commands(&mut self) -> Vec<Pairs> {
        let stream = self.keys.upstream();
        let entries = self.redis.call(&["XRANGE", &stream, "-", "+"]).await.array();
        entries.into_iter().map(|entry| pairs(entry.array().pop().unwrap())).collect()
    }

    async fn subscriber(&self, group: &str) -> Subscriber {
        let prefix = self.keys.prefix().to_owned();
        let options = SubscriberOptions { prefix, ..SubscriberOptions::new(group, "one") };
        Subscriber::connect(shared_redis().await.options(), options).await.unwrap()
    }

    async fn producer(&self) -> Producer {
        let prefix = self.keys.prefix().to_owned();
        let options = ProducerOptions { prefix, ..ProducerOptions::default() };
        Producer::connect(shared_redis().await.options(), options).await.unwrap()
    }
}

/// Reads until there is something.
async fn next(commands: &mut Subscriber) -> Vec<Delivery> {
    within("a command", async {
        loop {
            let deliveries = commands.next().await.unwrap();
            if !deliveries.is_empty() {
                return deliveries;
            }
        }
    })
    .await
}

/// The entry with which a service answers a command.
fn answer(command: &Command) -> gim_proto::Fields {
    let data: Value = serde_json::from_slice(&command.data).unwrap();
    let fields = [
        ("to_uid", command.uid.to_string()),
        ("id", format!("answer-{}", command.id)),
        ("mol", "echo".to_owned()),
        ("data", json!({ "seq": command.seq, "data": data }).to_string()),
    ];
    fields.into_iter().collect()
}

#[tokio::test]
async fn a_command_without_a_handler_is_answered_with_its_id_and_stands_on_the_stream() {
    let mut stage = Stage::start_with(ENABLED).await;
    let mut client = stage.user("u", &[]).await;
    let begun = unix_ms();
    client.command("7", "echo.up", json!({ "text": "hällo", "n": [1, 2.5, null] })).await;
    let reply = client.expect_reply("7").await;
    let id = reply["id"].as_str().expect("an id");
    assert_eq!(reply, json!({ "id": id }));
    let [command] = &stage.commands().await[..] else { panic!("one command") };
    let text = |at: usize| std::str::from_utf8(&command[at].1).unwrap();
    let names: Vec<&str> = command.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["id", "uid", "session", "seq", "cmd", "data", "node", "at_ms"]);
    assert_eq!([text(0), text(1), text(2), text(3)], [id, "u", client.session(), "7"]);
    assert_eq!([text(4), text(6)], ["echo.up", NAME]);
    let data: Value = serde_json::from_str(text(5)).unwrap();
    assert_eq!(data, json!({ "text": "hällo", "n": [1, 2.5, null] }));
    assert!((begun..=unix_ms()).contains(&text(7).parse().unwrap()), "{}", text(7));
}

#[tokio::test]
async fn data_and_seq_may_be_missing() {
    let mut stage = Stage::start_with(ENABLED).await;
    let mut client = stage.user("u", &[]).await;
    client.send_text(r#"{"seq":"1","cmd":"bare"}"#).await;
    client.expect_reply("1").await;
    client.send_text(r#"{"seq":"","cmd":"unnumbered","data":{}}"#).await;
    client.expect_reply("").await;
    let commands = stage.commands().await;
    let of = |at: usize| commands[at].iter().map(|(_, value)| String::from_utf8_lossy(value)).collect::<Vec<_>>();
    assert_eq!([&of(0)[3..6], &of(1)[3..6]], [["1", "bare", "null"], ["", "unnumbered", "{}"]]);
}

#[tokio::test]
async fn commands_of_a_session_stand_in_their_order() {
    let mut stage = Stage::start_with(ENABLED).await;
    let mut clients = [stage.user("a", &[]).await, stage.user("b", &[]).await];
    for n in 0..100 {
        for client in &mut clients {
            client.command(&n.to_string(), "count", json!({ "n": n })).await;
        }
    }
    for client in &mut clients {
        for n in 0..100 {
            client.expect_reply(&n.to_string()).await;
        }
    }
    let commands = stage.commands().await;
    for uid in ["a", "b"] {
        let of = commands.iter().filter(|command| command[1].1 == uid.as_bytes());
        let seqs: Vec<_> = of.map(|command| String::from_utf8(command[3].1.clone()).unwrap()).collect();
        assert_eq!(seqs, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_the_node_handles_does_not_go_up() {
    let mut stage = Stage::build(ENABLED, |builder| {
        builder
            .command("mine", |_: Context, data: Value| async move { Ok::<_, HandlerError>(data) })
            .command("fails", |_: Context, _: Value| async { Err::<Value, _>(HandlerError::forbidden("no")) })
    })
    .await;
    let mut client = stage.user("u", &["g"]).await;
    assert_eq!(client.ask("mine", json!({ "n": 1 })).await, json!({ "n": 1 }));
    client.command("1", "fails", json!({})).await;
    client.expect_error("1", 20_006).await;
    client.expect_silence().await;
    client.send_text("no JSON").await;
    client.expect_error("", 20_003).await;
    assert!(stage.commands().await.is_empty());
    assert!(client.ask("theirs", json!({})).await["id"].is_string());
    assert_eq!(stage.commands().await.len(), 1);
}

#[tokio::test]
async fn without_upstream_there_is_nobody_to_handle_a_command() {
    let mut stage = Stage::start().await;
    let mut client = stage.user("u", &[]).await;
    client.command("1", "echo.up", json!({})).await;
    client.expect_error("1", 20_004).await;
    let stream = stage.keys.upstream();
    assert_eq!(stage.redis.call(&["EXISTS", &stream]).await.int(), 0);
}

#[tokio::test]
async fn at_the_bound_a_command_is_refused_until_somebody_reads() {
    let stage = Stage::start_with(|config| {
        ENABLED(config);
        config.upstream.entries = 3;
    })
    .await;
    let mut client = stage.user("u", &[]).await;
    for n in 0..3 {
        assert!(client.ask("up", json!({ "n": n })).await["id"].is_string());
    }
    client.command("4", "up", json!({})).await;
    client.expect_error("4", 20_005).await;
    let metrics = http::respond("GET", stage.node.admin, "/metrics", &[], b"").await.text();
    assert!(metrics.contains("gim_upstream_total{outcome=\"full\"} 1\n"), "{metrics}");
    let mut commands = stage.subscriber("service").await;
    let read = next(&mut commands).await;
    assert_eq!(read.len(), 3);
    // What is read and not acknowledged still takes its place.
    client.command("5", "up", json!({})).await;
    client.expect_error("5", 20_005).await;
    commands.ack(&read.iter().map(|delivery| delivery.id).collect::<Vec<_>>()).await.unwrap();
    commands.close().await;
    assert!(client.ask("up", json!({})).await["id"].is_string());
}

#[tokio::test]
async fn a_command_is_answered_by_a_push_of_the_service_that_reads_it() {
    let stage = Stage::start_with(ENABLED).await;
    let mut commands = stage.subscriber("answer").await;
    let producer = stage.producer().await;
    let mut clients = [stage.user("a", &[]).await, Client::open(stage.node.public, "/acc?uid=b&msg_code=1").await];
    for client in &mut clients {
        client.command("s-1", "echo.up", json!({ "text": "hello" })).await;
        assert!(client.expect_reply("s-1").await["id"].is_string());
    }
    let mut answered = 0;
    while answered < 2 {
        for delivery in next(&mut commands).await {
            assert_eq!((delivery.attempts, delivery.command.cmd.as_str()), (1, "echo.up"));
            // As after a crash between the push and the acknowledgement: the queue takes it once.
            for _ in 0..2 {
                producer.enqueue_one(answer(&delivery.command)).await.unwrap();
            }
            commands.ack(&[delivery.id]).await.unwrap();
            answered += 1;
        }
    }
    for client in &mut clients {
        client.expect_body(json!({ "echo": { "seq": "s-1", "data": { "text": "hello" } } })).await;
    }
    stage.settled().await;
    for client in &mut clients {
        client.expect_silence().await;
    }
}

#[tokio::test]
async fn every_service_gets_every_command() {
    let stage = Stage::start_with(ENABLED).await;
    let mut services = [stage.subscriber("one").await, stage.subscriber("two").await];
    let mut client = stage.user("u", &[]).await;
    let id = client.ask("up", json!({ "n": 1 })).await["id"].clone();
    for service in &mut services {
        let read = next(service).await;
        assert_eq!((read.len(), json!(read[0].command.id)), (1, id.clone()));
        service.ack(&[read[0].id]).await.unwrap();
    }
}

/// A node over a Redis of its own, and its client.
async fn alone() -> (RedisServer, TestNode, Client) {
    let server = RedisServer::start().await;
    let url = server.url();
    let node = TestNode::start_with(|config| {
        ENABLED(config);
        config.redis.url = url;
        config.redis.call_timeout = Duration::from_millis(300);
    })
    .await;
    let client = Client::user(node.public, "u").await;
    (server, node, client)
}

#[tokio::test]
async fn while_redis_is_down_a_command_fails_and_the_connection_stays() {
    let (mut server, _node, mut client) = alone().await;
    server.stop();
    client.command("1", "up", json!({})).await;
    client.expect_error("1", 20_007).await;
    client.expect_silence().await;
    server.restart().await;
    let mut taken = false;
    while !taken {
        client.command("2", "up", json!({})).await;
        taken = client.json().await["response"]["a"]["id"].is_string();
    }
}

#[tokio::test]
async fn of_a_road_that_breaks_the_first_command_may_not_know_its_fate() {
    let (mut server, _node, mut client) = alone().await;
    client.ask("up", json!({})).await;
    server.stop();
    client.command("1", "up", json!({})).await;
    let code = client.json().await["response"]["a"]["system"]["error"]["code"].clone();
    assert!([json!(20_007), json!(20_008)].contains(&code), "{code}");
    for seq in ["2", "3"] {
        client.command(seq, "up", json!({})).await;
        client.expect_error(seq, 20_007).await;
    }
}

#[tokio::test]
async fn whether_a_silent_redis_took_a_command_is_not_known() {
    let (server, _node, mut client) = alone().await;
    client.ask("up", json!({})).await;
    server.freeze();
    client.command("1", "up", json!({})).await;
    let told = client.expect_error("1", 20_008).await;
    assert!(told.contains("not known"), "{told}");
    server.thaw();
    let mut taken = false;
    while !taken {
        client.command("2", "up", json!({})).await;
        taken = client.json().await["response"]["a"]["id"].is_string();
    }
}
