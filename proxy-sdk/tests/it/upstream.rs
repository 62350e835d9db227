//! The road up: what a node offers, what business applications read, and what is deleted when.

mod subscriber;

use bytes::Bytes;
use gim_proto::{MessageId, NodeId, SessionId, Uid};
use gim_proxy_sdk::testing::{RedisServer, free_port};
use gim_proxy_sdk::upstream::{Command, MOST_COMMANDS, RedisUpstream, Upstream, UpstreamErrorKind};

use crate::support::streams::Outside;

fn command(seq: u32) -> Command {
    Command {
        id: MessageId::mint(),
        uid: Uid::parse("42").unwrap(),
        session: SessionId::mint(),
        seq: seq.to_string(),
        cmd: "echo.up".to_owned(),
        data: Bytes::from_static(b"{\"text\":\"hi\"}"),
        node: NodeId::parse("host-8091").unwrap(),
        at_ms: 1_700_000_000_000,
    }
}

fn upstream(outside: &Outside, bound: u64) -> RedisUpstream {
    RedisUpstream::new(&outside.store, &outside.keys, bound)
}

async fn offer(upstream: &RedisUpstream, seq: u32) -> Result<MessageId, UpstreamErrorKind> {
    upstream.offer(command(seq)).await.map_err(|error| error.kind)
}

#[tokio::test]
async fn a_command_stands_on_the_stream_with_the_fields_of_the_wire() {
    let outside = Outside::shared().await;
    let command = command(7);
    let id = upstream(&outside, MOST_COMMANDS).offer(command.clone()).await.unwrap();
    assert_eq!(id, command.id);
    let flat = outside.stream(&outside.keys.upstream()).await.remove(0).1;
    let session = command.session.to_string();
    let expected = [
        ["id", id.as_str()],
        ["uid", "42"],
        ["session", &session],
        ["seq", "7"],
        ["cmd", "echo.up"],
        ["data", r#"{"text":"hi"}"#],
        ["node", "host-8091"],
        ["at_ms", "1700000000000"],
    ];
    assert_eq!(flat, expected.concat());
}

#[tokio::test]
async fn a_full_stream_refuses_the_newcomer_and_keeps_what_it_has() {
    let outside = Outside::shared().await;
    let upstream = upstream(&outside, 2);
    offer(&upstream, 0).await.unwrap();
    offer(&upstream, 1).await.unwrap();
    assert_eq!(offer(&upstream, 2).await, Err(UpstreamErrorKind::Full));
    let stream = outside.stream(&outside.keys.upstream()).await;
    assert_eq!(stream.iter().map(|(_, flat)| flat[7].as_str()).collect::<Vec<_>>(), ["0", "1"]);
}

#[tokio::test]
async fn a_redis_without_memory_is_full_and_one_that_is_not_there_unavailable() {
    let server = RedisServer::start().await;
    let outside = Outside::of(&server).await;
    let upstream = upstream(&outside, MOST_COMMANDS);
    offer(&upstream, 0).await.unwrap();
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    assert_eq!(offer(&upstream, 1).await, Err(UpstreamErrorKind::Full));
    outside.send::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    offer(&upstream, 1).await.unwrap();
    let nowhere = gim_proxy_sdk::store::RedisOptions::parse(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let nowhere = RedisUpstream::new(&gim_proxy_sdk::store::Store::new(nowhere), &outside.keys, 1);
    assert_eq!(offer(&nowhere, 0).await, Err(UpstreamErrorKind::Unavailable));
}
