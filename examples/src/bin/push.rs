//! A pusher: puts one message on the queue over HTTP, and tries again where that makes sense.
//!
//! `cargo run -p gim-examples --bin push -- --to-uid 42 --data '{"text":"hello"}'`
//!
//! The id is chosen here, before the first attempt. An attempt whose answer got lost may have succeeded, so each
//! repeat carries the same id, and the queue takes it once.
#![expect(clippy::print_stdout, reason = "the answer is what this program is for")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use gim_examples::backoff::Backoff;
use gim_proto::MessageId;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long one attempt may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Pushes a message to a user, a group, or a user only if in a group.
#[derive(Parser)]
struct Args {
    /// The admin listener of a node
    #[arg(long, default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Its token, where it has one
    #[arg(long)]
    token: Option<String>,
    /// The user
    #[arg(long, required_unless_present = "tgid")]
    to_uid: Option<String>,
    /// The group
    #[arg(long)]
    tgid: Option<String>,
    /// What to send: a JSON object
    #[arg(long, value_parser = json_object)]
    data: Value,
    /// The message's id; without one it is made up
    #[arg(long)]
    id: Option<String>,
    /// How often to try
    #[arg(long, default_value_t = 5)]
    attempts: u32,
}

/// Without this, clap would make any text a JSON string.
fn json_object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if value.is_object() { Ok(value) } else { Err("it is no JSON object".to_owned()) }
}

/// What came of one attempt.
enum Attempt {
    /// 202: the queue has it, and from now on answers for it.
    Accepted(String),
    /// Later it may be taken: a bound is reached, the node is stopping, the network failed.
    Later { why: String, hint: Option<Duration> },
    /// It will never be taken.
    Refused(String),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args = Args::parse();
    let body = Bytes::from(message(&args)?.to_string());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    for number in 1..=args.attempts {
        match attempt(&args, body.clone()).await {
            Attempt::Accepted(answer) => {
                println!("accepted: {answer}");
                return Ok(());
            }
            Attempt::Refused(answer) => return Err(answer.into()),
            Attempt::Later { why, .. } if number == args.attempts => return Err(why.into()),
            Attempt::Later { why, hint } => {
                let wait = backoff.next_wait_after(hint.unwrap_or_default());
                println!("not yet: {why}; again in {:.1} s", wait.as_secs_f64());
                tokio::time::sleep(wait).await;
            }
        }
    }
    Err("no attempt was asked for".into())
}

/// Fields that are absent are left out; `null` would do as well.
fn message(args: &Args) -> Result<Value, Error> {
    let id = args.id.as_deref().map_or_else(|| Ok(MessageId::mint()), MessageId::parse)?;
    let mut message = json!({ "id": id.as_str(), "data": args.data });
    for (field, value) in [("to_uid", &args.to_uid), ("tgid", &args.tgid)] {
        if let Some(value) = value {
            message[field] = json!(value);
        }
    }
    Ok(message)
}

async fn attempt(args: &Args, body: Bytes) -> Attempt {
    match tokio::time::timeout(DEADLINE, post(args, body)).await {
        Ok(Ok(attempt)) => attempt,
        // Both may have happened after the node took it. That is what the id is for.
        Ok(Err(error)) => Attempt::Later { why: error.to_string(), hint: None },
        Err(_) => Attempt::Later { why: "no answer in time".to_owned(), hint: None },
    }
}

/// One request on a connection of its own. A program that pushes often keeps the connection.
async fn post(args: &Args, body: Bytes) -> Result<Attempt, Error> {
    let stream = TcpStream::connect(args.admin).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request =
        Request::post("/api/v1/messages").header(HOST, args.admin.to_string()).header(CONTENT_TYPE, "application/json");
    if let Some(token) = &args.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Full::new(body))?).await?;
    let status = response.status();
    let hint = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = response.into_body().collect().await?.to_bytes();
    connection.abort();
    let answer = format!("{status} {}", String::from_utf8_lossy(&bytes));
    Ok(match status {
        StatusCode::ACCEPTED => Attempt::Accepted(answer),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Attempt::Later { why: answer, hint: hint.map(Duration::from_secs) }
        }
        _ => Attempt::Refused(answer),
    })
}
