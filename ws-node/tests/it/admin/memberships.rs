//! Groups, as operators and backends see and change them.

use serde_json::json;

use crate::support::client::Client;
use crate::support::http::{self, get, request};
use crate::support::node::TestNode;

async fn change(node: &TestNode, method: &str, tgid: &str, uid: &str) -> u16 {
    request(method, node.admin, &format!("/api/v1/groups/{tgid}/members/{uid}"), None).await.0
}

#[tokio::test]
async fn groups_are_listed_with_the_number_of_their_members() {
    let node = TestNode::start().await;
    assert_eq!(get(node.admin, "/api/v1/groups").await.1["groups"], json!([]));
    let mut a = Client::user(node.public, "a").await;
    let mut b = Client::user(node.public, "b").await;
    for tgid in ["g", "z", "ä"] {
        a.join(tgid).await;
    }
    b.join("g").await;
    let (status, groups) = get(node.admin, "/api/v1/groups").await;
    assert_eq!(status, 200);
    let wanted = [("g", 2), ("z", 1), ("ä", 1)].map(|(tgid, members)| json!({ "tgid": tgid, "members": members }));
    assert_eq!(groups["groups"], json!(wanted));
}

#[tokio::test]
async fn the_list_of_groups_comes_in_pages() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "a").await;
    for number in 10..30 {
        client.join(&format!("g{number}")).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = get(node.admin, &format!("/api/v1/groups?limit=7&after={after}")).await;
        let groups = page["groups"].as_array().expect("groups");
        assert!(groups.len() <= 7);
        seen.extend(groups.iter().map(|group| group["tgid"].as_str().expect("a name").to_owned()));
        if page["more"] != true {
            break;
        }
        after = seen.last().expect("a page that is not the last is not empty").clone();
    }
    let wanted: Vec<String> = (10..30).map(|number| format!("g{number}")).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn the_members_of_a_group_are_shown() {
    let node = TestNode::start().await;
    let mut clients = Vec::new();
    for uid in ["c", "a", "b"] {
        let mut client = Client::user(node.public, uid).await;
        client.join("g").await;
        clients.push(client);
    }
    let (status, group) = get(node.admin, "/api/v1/groups/g").await;
    assert_eq!((status, &group["tgid"], &group["members"]), (200, &json!("g"), &json!(["a", "b", "c"])), "{group}");
    let (status, group) = get(node.admin, "/api/v1/groups/empty").await;
    assert_eq!((status, &group["members"]), (200, &json!([])), "{group}");
}

#[tokio::test]
async fn a_user_is_put_in_and_taken_out_as_often_as_one_likes() {
    let node = TestNode::start().await;
    let mut client = Client::user(node.public, "u").await;
    for _ in 0..2 {
        assert!((200..300).contains(&change(&node, "PUT", "g", "u").await));
    }
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 1 } })).await;
    client.expect_body(json!({ "n": 1 })).await;
    for _ in 0..2 {
        assert!((200..300).contains(&change(&node, "DELETE", "g", "u").await));
    }
    http::push(node.admin, &json!({ "tgid": "g", "data": { "n": 2 } })).await;
    http::settled(node.admin).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_user_who_is_away_cannot_be_put_into_a_group() {
    let node = TestNode::start().await;
    for method in ["PUT", "DELETE"] {
        let (status, error) = request(method, node.admin, "/api/v1/groups/g/members/nobody", None).await;
        assert_eq!((status, &error["code"]), (404, &json!(10_001)), "{error}");
    }
    assert_eq!(get(node.admin, "/api/v1/groups").await.1["groups"], json!([]));
}

#[tokio::test]
async fn bad_names_are_bad_requests() {
    let node = TestNode::start().await;
    let _client = Client::user(node.public, "u").await;
    for path in ["a%20b/members/u", "g/members/a%20b", "%7B/members/u", "g/members/%0A"] {
        for method in ["PUT", "DELETE"] {
            let path = format!("/api/v1/groups/{path}");
            http::respond(method, node.admin, &path, &[], b"").await.expect_error(400);
        }
    }
    http::respond("GET", node.admin, "/api/v1/groups/a%20b", &[], b"").await.expect_error(400);
}
