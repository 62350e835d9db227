//! Carries out a schedule on a cluster: three hands, one for nodes, one for workers, one for servers.

use gim_proxy_sdk::testing::{EtcdServer, RedisServer};
use tokio::time::sleep;

use super::schedule::{Fault, Schedule, Strike};
use crate::support::cluster::Cluster;
use crate::support::link::Mode;
use crate::support::now_ms;
use crate::support::program::Program;

/// How slow a slow link is.
const SLOW: std::time::Duration = std::time::Duration::from_millis(150);

/// What happened, and when it began, Unix milliseconds.
pub(crate) type Struck = (Fault, u64);

/// Everything that is to happen. Whoever was killed runs again when this returns.
pub(crate) async fn carry_out(schedule: &Schedule, cluster: &mut Cluster) -> Vec<Struck> {
    let Cluster { nodes, workers, redis, etcd, .. } = cluster;
    let (of_nodes, of_workers, of_servers) = tokio::join!(
        to_programs(&schedule.nodes, nodes),
        to_programs(&schedule.workers, workers),
        to_servers(&schedule.servers, redis, etcd),
    );
    of_nodes.into_iter().chain(of_workers).chain(of_servers).collect()
}

async fn to_programs(strikes: &[Strike], programs: &mut [Program]) -> Vec<Struck> {
    let mut struck = Vec::new();
    for strike in strikes {
        sleep(strike.pause).await;
        struck.push((strike.fault, now_ms()));
        to_program(strike, &mut programs[strike.at]).await;
    }
    struck
}

async fn to_program(strike: &Strike, program: &mut Program) {
    use Fault::*;
    let span = strike.span;
    match strike.fault {
        NodeKilled | WorkerKilled => {
            program.kill();
            sleep(span).await;
            program.start_until_it_stays().await;
        }
        NodeRestarted | WorkerRestarted => {
            program.stop();
            program.ended().await;
            program.start_until_it_stays().await;
        }
        NodeFrozen | WorkerFrozen => {
            program.freeze();
            sleep(span).await;
            program.thaw();
        }
        NodeToRedisCut | WorkerToRedisCut => during(&program.redis, Mode::Cut, span).await,
        NodeToRedisSilent | WorkerToRedisSilent => during(&program.redis, Mode::Silent, span).await,
        NodeCallsCut => during(&program.called, Mode::Cut, span).await,
        NodeCallsSlow => during(&program.called, Mode::Slow(SLOW), span).await,
        NodeToEtcdCut => during(&program.etcd, Mode::Cut, span).await,
        RedisKilled | RedisFrozen | EtcdKilled | EtcdFrozen => unreachable!("a server's fault"),
    }
}

async fn during(link: &crate::support::link::Link, mode: Mode, span: std::time::Duration) {
    link.set(mode);
    sleep(span).await;
    link.set(Mode::Pass);
}

async fn to_servers(strikes: &[Strike], redis: &mut RedisServer, etcd: &mut EtcdServer) -> Vec<Struck> {
    let mut struck = Vec::new();
    for strike in strikes {
        sleep(strike.pause).await;
        struck.push((strike.fault, now_ms()));
        match strike.fault {
            Fault::RedisKilled => {
                redis.stop();
                sleep(strike.span).await;
                redis.restart().await;
            }
            Fault::RedisFrozen => {
                redis.freeze();
                sleep(strike.span).await;
                redis.thaw();
            }
            Fault::EtcdKilled => {
                etcd.stop();
                sleep(strike.span).await;
                etcd.restart().await;
            }
            _ => {
                etcd.freeze();
                sleep(strike.span).await;
                etcd.thaw();
            }
        }
    }
    struck
}
