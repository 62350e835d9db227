//! Groups follow a user who comes back on another node, and nobody else.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::node::Spec;
use crate::support::program::Program;
use crate::support::{eventually, http};

const GRACE: Duration = Duration::from_secs(2);
const TGID: &str = "g";

/// Connects as this user and shows a session.
async fn back(node: &Program, uid: &str, session: &str) -> Client {
    Client::connect(node.public, &format!("/ws?uid={uid}&msg_code=1&session={session}")).await
}

fn groups(client: &Client) -> &Value {
    &client.welcome["groups"]
}

/// How many members a node has of the group.
async fn members(node: &Program) -> u64 {
    http::get(node.admin, &format!("/api/v1/groups/{TGID}")).await.1["total"].as_u64().unwrap()
}

async fn to_group(cluster: &Cluster, n: u32) -> Value {
    let body = json!({ "n": n });
    http::push(cluster.nodes[2].admin, &json!({ "tgid": TGID, "data": body })).await;
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_follow_a_user_to_another_node_within_the_grace_and_only_with_its_session() {
    let begun = Instant::now();
    let grace = humantime(GRACE);
    let cluster = Cluster::start(Spec::new(2).set("session.membership_grace", grace), 3, 1).await;
    let [n1, n2, n3] = &cluster.nodes[..] else { panic!("three nodes") };
    let mut witness = Client::user(n3.public, "witness").await;
    witness.join(TGID).await;

    // Cut off, and back elsewhere.
    let mut user = Client::user(n1.public, "u").await;
    user.join(TGID).await;
    let session = user.session().to_owned();
    drop(user);
    let mut user = back(n2, "u", &session).await;
    assert_eq!(groups(&user), &json!([TGID]), "with its session");
    let body = to_group(&cluster, 1).await;
    user.expect_body(body.clone()).await;
    witness.expect_body(body).await;
    eventually("one member, where it is", || async {
        (members(n1).await == 0 && members(n2).await == 1).then_some(())
    })
    .await;

    // Still connected there: the newcomer takes over what the one before it was in.
    let session = user.session().to_owned();
    let mut next = back(n1, "u", &session).await;
    assert_eq!(groups(&next), &json!([TGID]), "from a connection that stood");
    user.expect_close(4501).await;
    let body = to_group(&cluster, 2).await;
    next.expect_body(body.clone()).await;
    witness.expect_body(body).await;
    eventually("no member on the node before", || async { (members(n2).await == 0).then_some(()) }).await;

    // Gone properly, and back with somebody else's session, with none, and with its own again.
    let session = next.session().to_owned();
    next.close().await;
    let thief = back(n2, "v", &session).await;
    assert_eq!(groups(&thief), &json!([]), "another user's session");
    let plain = back(n2, "u", "").await;
    assert_eq!(groups(&plain), &json!([]), "without its session");
    let body = to_group(&cluster, 3).await;
    witness.expect_body(body).await;
    http::settled(n1.admin).await;
    for mut other in [thief, plain] {
        other.expect_silence().await;
        other.close().await;
    }

    // Too late.
    let mut late = Client::user(n3.public, "late").await;
    late.join(TGID).await;
    let session = late.session().to_owned();
    late.close().await;
    sleep(GRACE + Duration::from_millis(500)).await;
    let late = back(n1, "late", &session).await;
    assert_eq!(groups(&late), &json!([]), "after the grace");
    eprintln!("groups followed twice and not four times, in {:.1?}", begun.elapsed());
}

fn humantime(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}
