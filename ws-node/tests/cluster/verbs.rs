//! Whatever is asked of one node reaches users on the others.

use std::sync::Arc;

use gim_proto::{Tgid, Uid};
use gim_proxy_sdk::{Body, ClientOptions, NodeClient, Outcome};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::http;
use crate::support::node::{Spec, TOKEN};

/// Two users on each of three nodes: `a` is in group `g`, `b` in `g` and `h`.
async fn connect(cluster: &Cluster) -> Vec<[Client; 2]> {
    let mut clients = Vec::new();
    for (at, node) in cluster.nodes.iter().enumerate() {
        let mut a = Client::user(node.public, &format!("a{at}")).await;
        let mut b = Client::user(node.public, &format!("b{at}")).await;
        a.join("g").await;
        b.join("g").await;
        b.join("h").await;
        clients.push([a, b]);
    }
    clients
}

fn body(n: u64) -> Value {
    json!({ "n": n })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_to_many_targets_reach_each_user_once_wherever_it_is() {
    let cluster = Cluster::start(Spec::new(4), 3, 2).await;
    let mut clients = connect(&cluster).await;
    let admin = cluster.nodes[0].admin;
    http::push(admin, &json!({ "all": 1, "data": body(1) })).await;
    http::settled(admin).await;
    http::push(admin, &json!({ "tgid_list": ["g", "h"], "data": body(2) })).await;
    http::settled(admin).await;
    http::push(admin, &json!({ "to_uids": ["a0", "a1", "a2", "nobody"], "data": body(3) })).await;
    http::push(admin, &json!({ "tgid": "h", "to_uid": "b2", "data": body(4) })).await;
    http::push(admin, &json!({ "tgid": "h", "to_uid": "a2", "data": body(5) })).await;
    http::push(admin, &json!({ "tgid": "g", "except_uid": "a1", "data": body(6) })).await;
    http::settled(admin).await;
    for (at, [a, b]) in clients.iter_mut().enumerate() {
        for n in [1, 2] {
            a.expect_body(body(n)).await;
            b.expect_body(body(n)).await;
        }
        // Of different lanes, in any order among each other.
        let mut of_a: Vec<u64> = if at == 1 { vec![3] } else { vec![3, 6] };
        let mut of_b: Vec<u64> = if at == 2 { vec![4, 6] } else { vec![6] };
        for (client, due) in [(a, &mut of_a), (b, &mut of_b)] {
            while !due.is_empty() {
                let n = client.expect_push().await.a["n"].as_u64();
                let place = due.iter().position(|due| Some(*due) == n);
                due.remove(place.unwrap_or_else(|| panic!("{n:?} was not due, but {due:?}")));
            }
            client.expect_silence().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_sends_kicks_and_memberships_go_to_the_node_that_holds_the_user() {
    // No worker: none of this takes the queue.
    let cluster = Cluster::start(Spec::new(2), 3, 0).await;
    let mut clients = connect(&cluster).await;
    let [n1, n2, n3] = &cluster.nodes[..] else { panic!("three nodes") };
    let options = |token: Option<&str>| ClientOptions { token: token.map(Arc::from), ..ClientOptions::default() };
    let uid = |uid: &str| Uid::parse(uid).unwrap();
    let tgid = |tgid: &str| Tgid::parse(tgid).unwrap();
    let stranger = NodeClient::connect(&n1.called.near().to_string(), options(None)).await;
    assert!(stranger.is_err(), "a caller without the token is refused");
    let client = NodeClient::connect(&n1.called.near().to_string(), options(Some(TOKEN))).await.unwrap();
    let body = |n: u64| Body::Response(body(n).to_string().into());

    for (at, [a, _]) in clients.iter_mut().enumerate() {
        let sent = client.send_to_user(&uid(&format!("a{at}")), None, body(at as u64)).await.unwrap();
        assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 1));
        a.expect_body(json!({ "n": at })).await;
    }
    let to_h = async |name| client.send_to_user(&uid(name), Some(&tgid("h")), body(7)).await;
    assert_eq!(to_h("b2").await.unwrap().outcome, Outcome::Offered);
    assert_eq!(to_h("a2").await.unwrap().outcome, Outcome::NotMember);
    assert_eq!(to_h("nobody").await.unwrap().outcome, Outcome::Offline);
    clients[2][1].expect_body(json!({ "n": 7 })).await;
    let sent = client.send_to_group(&tgid("g"), Some(&uid("b1")), body(8)).await.unwrap();
    assert_eq!((sent.outcome, sent.sessions), (Outcome::Offered, 5), "six members but one");
    for (at, [a, b]) in clients.iter_mut().enumerate() {
        a.expect_body(json!({ "n": 8 })).await;
        if at != 1 {
            b.expect_body(json!({ "n": 8 })).await;
        }
        b.expect_silence().await;
    }

    // Through the admin listener of a node that holds neither.
    let path = "/api/v1/groups/new/members/a2";
    assert_eq!(http::request("PUT", n1.admin, path, None).await.0, 204);
    assert_eq!(client.send_to_group(&tgid("new"), None, body(9)).await.unwrap().sessions, 1);
    clients[2][0].expect_body(json!({ "n": 9 })).await;
    assert_eq!(http::request("DELETE", n2.admin, path, None).await.0, 204);
    assert_eq!(client.send_to_group(&tgid("new"), None, body(10)).await.unwrap().outcome, Outcome::Offline);
    assert_eq!(http::request("DELETE", n1.admin, "/api/v1/users/a2/session", None).await.0, 204);
    let [a2, _] = clients.pop().unwrap();
    a2.expect_close(4503).await;
    for node in [n1, n2, n3] {
        assert_eq!(http::get(node.admin, "/api/v1/users/a2").await.1["online"], false);
        assert_eq!(http::request("DELETE", node.admin, "/api/v1/users/a2/session", None).await.0, 404);
    }
}
