//! A node of a cluster whose commands send to users and groups on other nodes.
//!
//! With a Redis and an etcd at hand, `cargo run -p gim-examples --bin cluster_node -- --name a`, then a second one with
//! `--name b --public 127.0.0.1:8180 --admin 127.0.0.1:8181 --rpc 127.0.0.1:8191`. A client of each: type
//! `chat.to {"uid":"bert","text":"hello"}` or `chat.say {"tgid":"lobby","text":"hello, all"}`.
#![expect(clippy::print_stdout, reason = "a program for learners says where it listens")]

use std::net::SocketAddr;

use clap::Parser;
use gim_proto::codes::ErrorCode;
use gim_proto::{NodeId, Tgid, Uid};
use gim_proxy_sdk::{RunProxy, Sent};
use gim_ws_node::config::{Config, Mode};
use gim_ws_node::{Context, HandlerError, Node, Session};
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The group everybody is in.
const LOBBY: &str = "lobby";

/// One node of a chat.
#[derive(Parser)]
struct Args {
    /// Its name, different from every other node's
    #[arg(long)]
    name: NodeId,
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:8080")]
    public: SocketAddr,
    /// Where operators and pushers connect
    #[arg(long, default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Where the other nodes reach it
    #[arg(long, default_value = "127.0.0.1:8091")]
    rpc: SocketAddr,
    /// The Redis of all nodes
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis: String,
    /// The etcd of all nodes
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    etcd: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let node = Node::builder(config(Args::parse()))
        .on_connect(greet)
        .command("chat.to", to_user)
        .command("chat.say", to_group)
        .start()
        .await?;
    println!("clients: ws://{}/ws  admin: http://{}/sysinfo  end with ctrl-c", node.public_addr(), node.admin_addr());
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        // Somebody else has this name: what goes on here would go wrong.
        () = node.lost() => println!("another node has taken this one's place"),
    }
    println!("{:?}", node.shutdown().await);
    Ok(())
}

fn config(args: Args) -> Config {
    let mut config = Config { mode: Mode::Cluster, ..Config::default() };
    config.node.id = Some(args.name);
    config.node.advertise_rpc = Some(args.rpc.to_string());
    config.listen.public = args.public;
    config.listen.admin = args.admin;
    // Beyond loopback every process of the service needs the same `rpc.token`.
    config.listen.rpc = args.rpc;
    config.redis.url = args.redis;
    config.etcd.endpoints = args.etcd;
    // Works on the queue itself, so that no process `msg-queue` is needed beside it.
    config.worker.embedded = true;
    config
}

async fn greet(session: Session) {
    if let Err(error) = session.join(LOBBY).await {
        tracing::warn!(uid = %session.uid(), %error, "could not join the lobby");
    }
}

/// `chat.to {"uid","text"}`: to one user. Whether connected here or to another node, the handler need not know.
async fn to_user(ctx: Context, data: Value) -> Result<Sent, HandlerError> {
    let uid = Uid::parse(text(&data, "uid")?).map_err(malformed)?;
    let message = json!({ "chat": { "from": ctx.uid(), "text": text(&data, "text")? } });
    // The reply tells the outcome: `offline` is none of an error.
    Ok(ctx.proxy().send_res_data_to_user(&uid, &message).await?)
}

/// `chat.say {"tgid","text"}`: to the members of a group on all nodes, but not to the sender.
async fn to_group(ctx: Context, data: Value) -> Result<Sent, HandlerError> {
    let tgid = Tgid::parse(text(&data, "tgid")?).map_err(malformed)?;
    if !ctx.session().groups().contains(&tgid) {
        return Err(HandlerError::forbidden("only members may speak"));
    }
    let message = json!({ "chat": { "from": ctx.uid(), "in": tgid, "text": text(&data, "text")? } });
    Ok(ctx.proxy().send_res_data_to_group(&tgid, &message, Some(ctx.uid())).await?)
}

fn text<'a>(data: &'a Value, field: &str) -> Result<&'a str, HandlerError> {
    data[field].as_str().ok_or_else(|| malformed(format!("{field} is missing")))
}

fn malformed(why: impl ToString) -> HandlerError {
    HandlerError::new(ErrorCode::ParamsError, why.to_string())
}
