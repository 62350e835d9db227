//! A backend service that pushes to users and groups, wherever they are connected.
//!
//! `cargo run -p gim-examples --bin backend -- --etcd http://127.0.0.1:2379` finds the nodes of a cluster; with
//! `--node 127.0.0.1:8091` it asks that one alone. Then, a line each:
//!
//! ```text
//! user anna hello          now or never: prints what became of it
//! group lobby hello all    the same to everybody in the group, on whatever node
//! queue anna hello         onto the queue, under an id: repeated until it is accepted, delivered once
//! ```
#![expect(clippy::print_stdout, reason = "what became of it is what this program is to show")]

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use gim_examples::backoff::Backoff;
use gim_proxy_sdk::etcd::EtcdOptions;
use gim_proxy_sdk::{
    ClientOptions, ClusterClient, Error, ErrorKind, Fields, MessageId, NodeClient, RunProxy, Sent, Tgid, Uid,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How often an entry is put on the queue before somebody has to look.
const ATTEMPTS: u32 = 8;

/// Pushes what is typed.
#[derive(Parser)]
#[command(group(ArgGroup::new("whom").required(true).args(["etcd", "node"])))]
struct Args {
    /// Where the nodes are registered
    #[arg(long, value_delimiter = ',')]
    etcd: Vec<String>,
    /// What the cluster's keys begin with
    #[arg(long, default_value = "gim")]
    prefix: String,
    /// One node instead
    #[arg(long)]
    node: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proxy = connect(Args::parse()).await?;
    println!("user UID TEXT, group TGID TEXT or queue UID TEXT; end with ctrl-d");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Err(error) = obey(&line, &*proxy).await {
            println!("{error}");
        }
    }
    Ok(())
}

/// From here on it makes no difference how the nodes were found.
async fn connect(args: Args) -> Result<Box<dyn RunProxy>, Error> {
    // The nodes' `rpc.token`. Only a service that has it may push.
    let token = std::env::var("GIM_RPC__TOKEN").ok().map(Arc::from);
    let options = ClientOptions { token, ..ClientOptions::default() };
    Ok(match args.node {
        Some(address) => Box::new(NodeClient::connect(&address, options).await?),
        None => Box::new(ClusterClient::connect(&EtcdOptions::new(args.etcd), &args.prefix, options).await?),
    })
}

async fn obey(line: &str, proxy: &dyn RunProxy) -> Result<(), Box<dyn std::error::Error>> {
    let mut words = line.splitn(3, ' ');
    let data = |text: &str| json!({ "text": text });
    match (words.next(), words.next(), words.next()) {
        (Some("user"), Some(uid), Some(text)) => {
            tell(proxy.send_res_data_to_user(&Uid::parse(uid)?, &data(text)).await);
        }
        (Some("group"), Some(tgid), Some(text)) => {
            tell(proxy.send_res_data_to_group(&Tgid::parse(tgid)?, &data(text), None).await);
        }
        (Some("queue"), Some(uid), Some(text)) => queue(&Uid::parse(uid)?, &data(text), proxy).await,
        _ => println!("user UID TEXT, group TGID TEXT or queue UID TEXT"),
    }
    Ok(())
}

/// A direct send has an outcome, and nobody repeats it.
fn tell(sent: Result<Sent, Error>) {
    match sent {
        // That nobody is there is an outcome like any other: a message that must not be lost belongs on the queue.
        Ok(sent) => println!("{}: {}, {} sessions", sent.id, sent.outcome.as_str(), sent.sessions),
        // Sent again, it might arrive twice.
        Err(error) if error.kind == ErrorKind::Timeout => println!("it may have arrived: {error}"),
        Err(error) => println!("not sent: {error}"),
    }
}

/// Puts an entry on the queue, and tries again where that makes sense. The id is chosen before the first attempt: one
/// whose answer got lost may have succeeded, and the queue takes an id once.
async fn queue(uid: &Uid, data: &Value, proxy: &dyn RunProxy) {
    let id = MessageId::mint();
    let fields = [("to_uid", uid.to_string()), ("id", id.to_string()), ("data", data.to_string())];
    let entry: Fields = fields.into_iter().collect();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    for _ in 0..ATTEMPTS {
        match proxy.enqueue(vec![entry.clone()]).await {
            Ok(_) => return println!("{id}: accepted"),
            Err(error) if error.is_retryable() => {
                println!("{id}: not yet: {error}");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(error) => return println!("{id}: refused: {error}"),
        }
    }
    println!("{id}: given up; whoever tries it later takes the same id");
}
