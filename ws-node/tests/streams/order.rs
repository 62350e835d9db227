//! Order and number: each target's messages once, as their producer put them on.

use std::collections::HashMap;
use std::num::NonZeroU16;

use gim_proto::{Target, Tgid, Uid, lane_of};
use gim_proxy_sdk::testing::shared_redis;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::resp::Resp;
use crate::stage::{Stage, xadd};
use crate::support::client::Client;

const LANES: NonZeroU16 = NonZeroU16::new(4).unwrap();
const PRODUCERS: u64 = 8;
const EACH: u64 = 1_250;
const USERS: u64 = 10;
const GROUPS: u64 = 5;

/// Who the n-th entry goes to: a user or a group, in an irregular pattern.
fn target(n: u64) -> (&'static str, String) {
    let pick = n * 7 + n / 3;
    if pick.is_multiple_of(3) {
        ("tgid", format!("g{}", pick % GROUPS))
    } else {
        ("to_uid", format!("u{}", pick % USERS))
    }
}

fn lane((kind, name): &(&str, String)) -> u16 {
    let target = match *kind {
        "tgid" => Target::Group(Tgid::parse(name).unwrap()),
        _ => Target::User(Uid::parse(name).unwrap()),
    };
    lane_of(&target, LANES)
}

/// Puts on `EACH` entries in pipelines, over a connection of its own. Returns the ids that they must come under.
async fn produce(stage: &Stage, producer: u64) -> impl Future<Output = Vec<String>> + use<> {
    let (keys, port) = (stage.keys.clone(), shared_redis().await.port());
    async move {
        let mut redis = Resp::connect(port).await;
        let mut ids = Vec::new();
        for start in (0..EACH).step_by(250) {
            let mut bytes = Vec::new();
            let mut lanes = Vec::new();
            for n in start..start + 250 {
                let target = target(n + producer);
                lanes.push(lane(&target));
                let data = json!({ "to": target.1, "producer": producer, "n": n }).to_string();
                let fields = [(target.0, target.1.as_str()), ("data", data.as_str())];
                xadd(&mut bytes, &keys.queue(lanes[lanes.len() - 1]), "*", &fields);
            }
            redis.send(&bytes).await;
            for lane in lanes {
                ids.push(format!("{lane}-{}", redis.reply().await.text()));
            }
        }
        ids
    }
}

/// Takes so many pushes; of each target and producer they must come in order.
async fn read(mut client: Client, pushes: usize) -> Vec<(u64, u64, String)> {
    let mut last: HashMap<(String, u64), u64> = HashMap::new();
    let mut seen = Vec::new();
    for _ in 0..pushes {
        let push = client.expect_push().await;
        let (producer, n) = (push.a["producer"].as_u64().unwrap(), push.a["n"].as_u64().unwrap());
        let to = push.a["to"].as_str().unwrap().to_owned();
        let before = last.insert((to, producer), n);
        assert!(before.is_none_or(|before| before < n), "of producer {producer}: {before:?} before {n}");
        seen.push((producer, n, push.id.expect("an id")));
    }
    client.expect_silence().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_producers_in_four_lanes_keep_the_order_of_each_target() {
    let stage = Stage::start_with(|config| config.queue.lanes = LANES).await;
    let entries: Vec<(u64, u64)> = (0..PRODUCERS).flat_map(|producer| (0..EACH).map(move |n| (producer, n))).collect();
    let mut readers = JoinSet::new();
    for number in 0..USERS {
        // Everybody is in one group.
        let (uid, tgid) = (format!("u{number}"), format!("g{}", number % GROUPS));
        let client = stage.user(&uid, &[&tgid]).await;
        let mine: Vec<(u64, u64)> =
            entries.iter().copied().filter(|(producer, n)| [&uid, &tgid].contains(&&target(n + producer).1)).collect();
        readers.spawn(async move { (read(client, mine.len()).await, mine) });
    }
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let ids = produce(&stage, producer).await;
        producers.spawn(async move { (producer, ids.await) });
    }
    let ids: HashMap<u64, Vec<String>> = producers.join_all().await.into_iter().collect();
    for (seen, mut wanted) in readers.join_all().await {
        for (producer, n, id) in &seen {
            assert_eq!(*id, ids[producer][usize::try_from(*n).unwrap()]);
        }
        let mut seen: Vec<(u64, u64)> = seen.into_iter().map(|(producer, n, _)| (producer, n)).collect();
        seen.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(seen, wanted, "each once, and none of others");
    }
    stage.settled().await;
}

/// One pipeline of 10,000 entries. Returns their ids.
async fn ten_thousand(stage: &mut Stage, target: (&str, &str)) -> Vec<String> {
    let mut ids = Vec::new();
    for start in (0..10_000).step_by(2_500) {
        let mut bytes = Vec::new();
        for n in start..start + 2_500 {
            let data = json!({ "n": n }).to_string();
            xadd(&mut bytes, &stage.keys.queue(0), "*", &[target, ("data", data.as_str())]);
        }
        stage.redis.send(&bytes).await;
        for _ in 0..2_500 {
            ids.push(format!("0-{}", stage.redis.reply().await.text()));
        }
    }
    ids
}

async fn gets_all(mut client: Client, ids: &[String]) {
    for (n, id) in ids.iter().enumerate() {
        let push = client.expect_body(json!({ "n": n })).await;
        assert_eq!(push.id.as_ref(), Some(id));
    }
    client.expect_silence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_to_a_user_come_once_in_order_under_their_ids() {
    let mut stage = Stage::start().await;
    let client = stage.user("u", &[]).await;
    let ids = ten_thousand(&mut stage, ("to_uid", "u")).await;
    gets_all(client, &ids).await;
    stage.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_to_a_group_come_to_each_member_once_in_order() {
    let mut stage = Stage::start().await;
    let clients = [stage.user("a", &["g"]).await, stage.user("b", &["g"]).await];
    let mut readers = JoinSet::new();
    let ids = ten_thousand(&mut stage, ("tgid", "g")).await;
    for client in clients {
        let ids = ids.clone();
        readers.spawn(async move { gets_all(client, &ids).await });
    }
    readers.join_all().await;
    stage.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_entries_do_not_stay_on_the_stream() {
    let mut stage = Stage::start().await;
    ten_thousand(&mut stage, ("to_uid", "nobody")).await;
    stage.settled().await;
    let stream = stage.keys.queue(0);
    let mut left = i64::MAX;
    // It is trimmed by whole nodes of 100 entries.
    crate::support::within("the stream to be trimmed", async {
        while left > 200 {
            stage.add(0, &[("to_uid", "nobody"), ("data", "{}")]).await;
            left = stage.redis.call(&["XLEN", &stream]).await.int();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_groups_at_once_keep_the_order_of_each() {
    let mut stage = Stage::start().await;
    let client = stage.user("u", &["g", "h", "i"]).await;
    let lists = [r#"["g","h"]"#, r#"["h","i"]"#, r#"["i"]"#];
    let mut bytes = Vec::new();
    for n in 0..900 {
        let data = json!({ "groups": lists[n % 3], "n": n }).to_string();
        xadd(&mut bytes, &stage.keys.queue(0), "*", &[("tgid_list", lists[n % 3]), ("data", data.as_str())]);
    }
    stage.redis.send(&bytes).await;
    let mut client = client;
    let mut last: HashMap<char, u64> = HashMap::new();
    for _ in 0..900 {
        let found: Value = client.expect_push().await.a;
        let n = found["n"].as_u64().unwrap();
        for tgid in found["groups"].as_str().unwrap().chars().filter(char::is_ascii_lowercase) {
            let before = last.insert(tgid, n);
            assert!(before.is_none_or(|before| before < n), "of group {tgid}: {before:?} before {n}");
        }
    }
    client.expect_silence().await;
}
