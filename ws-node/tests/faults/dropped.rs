//! Groups lose their last member while Redis stands still.

use std::time::Duration;

use gim_proto::Tgid;
use gim_proxy_sdk::testing::RedisServer;
use redis::cmd;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::node::Spec;
use crate::support::{eventually, http};

const GROUPS: usize = 20;
/// Within the deadline of a call, and beyond the lease of the node.
const SPANS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(12)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_empties_while_redis_stands_still_is_dropped_afterwards() {
    let redis = RedisServer::start().await;
    let spec = Spec::new(&redis).set("session.membership_grace", "1s");
    let node = spec.start().await;
    let link = redis.store().link("any");
    let tgids: Vec<Tgid> = (0..GROUPS).map(|group| Tgid::parse(&format!("g{group}")).unwrap()).collect();
    for span in SPANS {
        let mut members = Vec::new();
        for (at, tgid) in tgids.iter().enumerate() {
            let mut member = Client::user(node.public, &format!("u{at}")).await;
            member.join(tgid.as_str()).await;
            members.push(member);
        }
        let (_, list) = http::get(node.admin, "/api/v1/groups").await;
        assert_eq!(list["total"], GROUPS);
        redis.freeze();
        drop(members);
        eventually("nobody to be left", || async { (node.metric("gim_sessions", "").await == 0).then_some(()) }).await;
        sleep(span).await;
        redis.thaw();
        let begun = Instant::now();
        eventually("no group to be left", || async {
            let (_, list) = http::get(node.admin, "/api/v1/groups").await;
            let (_, sysinfo) = http::get(node.admin, "/sysinfo").await;
            (list["total"] == 0 && sysinfo["managerInfo"]["tGroupLen"] == 0).then_some(())
        })
        .await;
        let dropped = begun.elapsed();
        // A name that was left there goes once somebody has come upon it.
        eventually("no group to be on record", || async {
            for tgid in &tgids {
                let (_, group) = http::get(node.admin, &format!("/api/v1/groups/{tgid}")).await;
                assert_eq!(group["total"], 0, "{group}");
            }
            let mut exist = cmd("EXISTS");
            tgids.iter().for_each(|tgid| {
                exist.arg(spec.keys().group(tgid));
            });
            (link.query::<u64>(&exist).await.ok()? == 0).then_some(())
        })
        .await;
        eprintln!(
            "redis frozen for {span:?} while {GROUPS} groups emptied: dropped after {dropped:.1?}, off record after {:.1?}",
            begun.elapsed()
        );
    }
}
