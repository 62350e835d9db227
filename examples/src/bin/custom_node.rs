//! A node with commands of its own: a small chat.
//!
//! `cargo run -p gim-examples --bin custom_node`, then twice, in two terminals:
//! `cargo run -p gim-examples --bin client -- --uid alice --token wonderland`, `--uid bob --token builder`.
//! Type `chat.say {"text":"hello"}` or `whoami`.
//!
//! Everybody is in the group `lobby`; `gim.join` brings a client into more groups. What it says goes to all of them.
#![expect(clippy::print_stdout, reason = "a program for learners says where it listens")]

use std::net::SocketAddr;

use clap::Parser;
use gim_proto::codes::ErrorCode;
use gim_proxy_sdk::RunProxy;
use gim_ws_node::config::Config;
use gim_ws_node::{Context, HandlerError, Identity, Node, Refusal, Session, UpgradeRequest};
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who may come in, and with what. A real application asks its own user service here.
const TOKENS: [(&str, &str); 3] = [("wonderland", "alice"), ("builder", "bob"), ("sponge", "carol")];
/// The group everybody is in.
const LOBBY: &str = "lobby";
/// Longest text that may be said, in bytes.
const LONGEST: usize = 2_000;

/// A chat in one process.
#[derive(Parser)]
struct Args {
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where operators and pushers connect
    #[arg(long, default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let mut config = Config::default();
    config.listen.public = args.listen;
    config.listen.admin = args.admin;

    let node = Node::builder(config)
        .authorize(authorize)
        .on_connect(greet)
        .command("chat.say", say)
        .command("whoami", who_am_i)
        .start()
        .await?;
    println!("clients: ws://{}/ws  admin: http://{}/sysinfo  end with ctrl-c", node.public_addr(), node.admin_addr());

    tokio::signal::ctrl_c().await?;
    // Clients are told to come back, in jittered waves, and what is queued is delivered first.
    let report = node.shutdown().await;
    println!("{report:?}");
    Ok(())
}

/// Decides who connects, before the WebSocket exists: a refusal is an ordinary HTTP answer.
async fn authorize(request: UpgradeRequest) -> Result<Identity, Refusal> {
    let token = request.query("token").ok_or_else(|| Refusal::unauthorized("token is missing"))?;
    let known = TOKENS.iter().find(|(known, _)| *known == token);
    let (_, uid) = known.ok_or_else(|| Refusal::unauthorized("unknown token"))?;
    // The uid in the query is only a wish: what counts is whom the token belongs to.
    match request.query("uid") {
        Some(asked) if asked != *uid => Err(Refusal::forbidden("the token belongs to somebody else")),
        _ => Ok(Identity::uid(uid)?),
    }
}

/// Runs before the first command of the session is handled.
async fn greet(session: Session) {
    if let Err(error) = session.join(LOBBY).await {
        tracing::warn!(uid = %session.uid(), %error, "could not join the lobby");
    }
}

/// `chat.say {"text"}`: to everybody in the sender's groups, but not to the sender.
async fn say(ctx: Context, data: Value) -> Result<Value, HandlerError> {
    let text = match data["text"].as_str() {
        Some(text) if (1..=LONGEST).contains(&text.len()) => text,
        _ => return Err(HandlerError::new(ErrorCode::ParamsError, format!("text must have 1 to {LONGEST} bytes"))),
    };
    let mut reached = 0;
    for tgid in ctx.session().groups() {
        let message = json!({ "chat": { "from": ctx.uid(), "in": tgid, "text": text } });
        // Nobody there is an outcome, not an error; an error means that it could not be sent at all.
        let sent = ctx.proxy().send_res_data_to_group(&tgid, &message, Some(ctx.uid())).await?;
        reached += sent.sessions;
    }
    Ok(json!({ "reached": reached }))
}

/// `whoami`: what the node knows about the session that asks.
async fn who_am_i(ctx: Context, _: Value) -> Result<Value, HandlerError> {
    let session = ctx.session();
    Ok(json!({
        "uid": session.uid(),
        "session": session.id().to_string(),
        "peer": session.peer().to_string(),
        "groups": session.groups(),
    }))
}
