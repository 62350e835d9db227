#![allow(clippy::all, clippy::pedantic, missing_docs, clippy::unwrap_used)]
use gim_proxy_sdk::directory::redis::*; use gim_proxy_sdk::directory::*; use gim_proxy_sdk::testing::*; use gim_proto::*;
use futures_util::{stream, StreamExt};
fn cpu() -> u64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<u64>().unwrap() + f[12].parse::<u64>().unwrap()) * 10_000 }
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m() {
    let server = RedisServer::start().await;
    let live = LiveNodes::new(); let node = NodeRef { id: NodeId::parse("n1").unwrap(), incarnation: Incarnation::mint() };
    live.set(vec![node.clone()]);
    let keys = Keys::new("m").unwrap();
    let mk = || RedisDirectory::connect(&server.options(), live.clone(), RedisDirectoryOptions::new(keys.clone()));
    let d = mk().await.unwrap(); let r = mk().await.unwrap();
    let n = 50_000usize;
    let uids: Vec<Uid> = (0..n).map(|u| Uid::parse(&format!("user-{u}")).unwrap()).collect();
    let (c, t) = (cpu(), tokio::time::Instant::now());
    stream::iter(uids.clone()).map(|uid| { let d = d.clone(); let node = node.clone(); tokio::spawn(async move { d.claim(ClaimRequest { uid, node, session: SessionId::mint(), on_duplicate: OnDuplicate::Replace, resume: None }).await.unwrap() }) }).buffer_unordered(256).for_each(|_| async {}).await;
    println!("claim: {:.1} us cpu, {:.0}/s", (cpu()-c) as f64/n as f64, n as f64/t.elapsed().as_secs_f64());
    for (name, f) in [("lookup redis", Freshness::Current), ("lookup cached", Freshness::Cached)] {
        let (c, t) = (cpu(), tokio::time::Instant::now());
        for some in uids.chunks(1000) { r.lookup(some, f).await.unwrap(); }
        println!("{name} 1000 at once: {:.2} us cpu/uid, {:.0}/s", (cpu()-c) as f64/n as f64, n as f64/t.elapsed().as_secs_f64());
    }
    let dead = Incarnation::mint();
    let _: i64 = server.store().link("x").query(redis::cmd("HSET").arg("m:meta").arg(format!("run:{}", node.incarnation)).arg("n1")).await.unwrap();
    live.set(vec![]); let _ = dead;
    r.sweep().await.unwrap(); tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let mut worst = std::time::Duration::ZERO; let mut steps = 0; let t0 = tokio::time::Instant::now(); let c = cpu();
    loop { let t = tokio::time::Instant::now(); r.sweep().await.unwrap(); worst = worst.max(t.elapsed()); steps += 1;
        let left: bool = server.store().link("x").query(redis::cmd("HEXISTS").arg("m:meta").arg(format!("run:{}", node.incarnation))).await.unwrap(); if !left { break; } }
    println!("sweep of {n}: {steps} steps, worst {worst:?}, total {:?}, swept {}, {:.1} us cpu/user", t0.elapsed(), r.stats().swept, (cpu()-c) as f64/n as f64);
}
