//! A node that sends every message back as it came, for conformance suites such as Autobahn.
//!
//! `cargo run --release -p gim-examples --bin echo_node -- --listen 127.0.0.1:9001`, then point the suite at
//! `ws://127.0.0.1:9001/acc`. On `/ws` a node greets with a welcome, which such a suite does not expect.
#![expect(clippy::print_stdout, reason = "a program for learners says where it listens")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use gim_ws_node::config::{ByteSize, Config};
use gim_ws_node::{Frame, Handled, Identity, Node, Refusal, Session};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Echoes every message.
#[derive(Parser)]
struct Args {
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args = Args::parse();
    // A suite names nobody: each connection gets a uid of its own, so that none replaces another.
    let number = Arc::new(AtomicU64::new(0));
    let node = Node::builder(config(args.listen))
        .authorize(move |_| {
            let uid = format!("echo-{}", number.fetch_add(1, Ordering::Relaxed));
            async move { Ok::<_, Refusal>(Identity::uid(&uid)?) }
        })
        .on_frame(echo)
        .start()
        .await?;
    println!("ws://{}/acc  end with ctrl-c", node.public_addr());
    tokio::signal::ctrl_c().await?;
    node.shutdown().await;
    Ok(())
}

/// Takes every message before it is parsed as a command. What is sent here goes out without an envelope.
async fn echo(session: Session, frame: Frame) -> Handled {
    session.send_frame(&frame);
    Handled::Yes
}

/// Suites send messages of 16 MiB, read slowly and count every frame, pings too.
fn config(listen: SocketAddr) -> Config {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config::default();
    config.listen.public = listen;
    config.listen.admin = any_port;
    config.listen.rpc = any_port;
    config.session.frame_bytes = ByteSize::mib(64);
    config.session.message_bytes = ByteSize::mib(64);
    config.session.outbox_bytes = ByteSize::mib(256);
    config.session.ping = None;
    config.session.keep_time = None;
    config
}
