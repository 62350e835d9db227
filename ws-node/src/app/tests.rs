//! Dead letters end to end. From outside none comes about in one process, so these tests put a record into the
//! directory that no session stands for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gim_proto::{SessionId, Uid};
use gim_proxy_sdk::directory::{Claim, ClaimRequest, NodeRef, OnDuplicate};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Running, start};
use crate::config::{Config, LocalSection};
use crate::embed::Handlers;

const DEADLINE: Duration = Duration::from_secs(15);

async fn node() -> Arc<Running> {
    let mut config = Config { local: LocalSection::in_memory(), ..Config::default() };
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.listen.public, config.listen.admin, config.listen.rpc) = (free, free, free);
    config.worker.attempts = 1;
    let handlers = Handlers { deadline: config.session.handler_deadline, ..Handlers::default() };
    start(config, handlers, None).await.unwrap()
}

/// Makes the directory name a session that does not exist. Returns what takes the record back.
async fn haunt(running: &Running, uid: &str) -> impl AsyncFnOnce() {
    let uid = Uid::parse(uid).unwrap();
    let core = Arc::clone(&running.core);
    let session = SessionId::mint();
    let request = ClaimRequest {
        uid: uid.clone(),
        node: NodeRef::clone(&core.node()),
        session,
        on_duplicate: OnDuplicate::Replace,
        resume: None,
    };
    let Claim::Granted { fence, .. } = core.directory.claim(request).await.unwrap() else { panic!("not granted") };
    async move || assert!(core.directory.release(&uid, session, fence, Duration::ZERO).await.unwrap())
}

async fn ask(running: &Running, method: Method, path: &str, body: &str) -> (u16, Value) {
    let exchange = async {
        let mut stream = TcpStream::connect(running.admin).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap()
}

/// Waits until the lane holds this many dead letters.
async fn dead(running: &Running, count: usize) -> Vec<Value> {
    let watch = async {
        loop {
            let (status, answer) = ask(running, Method::GET, "/api/v1/dead/0", "").await;
            assert_eq!(status, 200, "{answer}");
            let letters = answer["dead"].as_array().unwrap().clone();
            if letters.len() >= count {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, watch).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_says_why_and_goes_to_its_failed_target_once_redriven() {
    let running = node().await;
    let url = format!("ws://{}/acc?msg_code=1&uid=", running.public);
    let (mut alive, _) = tokio_tungstenite::connect_async(format!("{url}alive")).await.unwrap();
    let lay_to_rest = haunt(&running, "ghost").await;
    let body = json!({ "to_uids": ["alive", "ghost"], "id": "m1", "data": { "n": 1 }, "colour": "red" });
    let (status, answer) = ask(&running, Method::POST, "/api/v1/messages", &body.to_string()).await;
    assert_eq!((status, answer), (202, json!({ "ids": ["m1"] })));
    assert_eq!(next(&mut alive).await["response"]["a"], json!({ "n": 1 }));

    let letters = dead(&running, 1).await;
    let entry = &letters[0]["entry"];
    assert_eq!(entry["gim_reason"], "attempts", "{entry}");
    assert_eq!(entry["gim_attempts"], "1", "{entry}");
    assert_eq!(entry["colour"], "red", "the original fields are kept");
    assert!(entry["gim_failed_targets"].to_string().contains("ghost"), "{entry}");
    assert!(!entry["gim_failed_targets"].to_string().contains("alive"), "{entry}");

    lay_to_rest().await;
    let (mut ghost, _) = tokio_tungstenite::connect_async(format!("{url}ghost")).await.unwrap();
    let (status, answer) = ask(&running, Method::POST, "/api/v1/dead/0/redrive", "").await;
    assert_eq!((status, answer), (200, json!({ "redriven": 1 })));
    assert_eq!(next(&mut ghost).await["response"]["a"], json!({ "n": 1 }));
    let marker = json!({ "to_uid": "alive", "data": { "n": 2 } });
    ask(&running, Method::POST, "/api/v1/messages", &marker.to_string()).await;
    assert_eq!(next(&mut alive).await["response"]["a"], json!({ "n": 2 }), "what was delivered is not delivered again");
    assert_eq!(ask(&running, Method::GET, "/api/v1/dead/0", "").await.1, json!({ "dead": [] }));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_purged_by_id_and_all_together() {
    let running = node().await;
    let _ghost = haunt(&running, "ghost").await;
    let bodies: Vec<Value> = (0..3).map(|n| json!({ "to_uid": "ghost", "data": { "n": n } })).collect();
    ask(&running, Method::POST, "/api/v1/messages", &json!(bodies).to_string()).await;
    let letters = dead(&running, 3).await;
    let second = json!({ "ids": [letters[1]["id"], "1-1"] }).to_string();
    assert_eq!(ask(&running, Method::DELETE, "/api/v1/dead/0", &second).await, (200, json!({ "purged": 1 })));
    let (_, rest) =
        ask(&running, Method::GET, &format!("/api/v1/dead/0?limit=1&after={}", letters[0]["id"].as_str().unwrap()), "")
            .await;
    assert_eq!(rest["dead"][0]["id"], letters[2]["id"]);
    assert_eq!(ask(&running, Method::DELETE, "/api/v1/dead/0", "").await, (200, json!({ "purged": 2 })));
    for (path, body, status) in [
        ("/api/v1/dead/7", "", 404),
        ("/api/v1/dead/x", "", 400),
        ("/api/v1/dead/0", r#"{"ids":["x"]}"#, 400),
        ("/api/v1/dead/0", r#"{"id":"1-1"}"#, 400),
    ] {
        let (got, answer) = ask(&running, Method::DELETE, path, body).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(answer["code"].is_u64() && answer["msg"].is_string(), "{answer}");
    }
    running.shutdown().await;
}

async fn next<S>(client: &mut S) -> Value
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let message = tokio::time::timeout(DEADLINE, client.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}
