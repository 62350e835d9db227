//! A business service behind the clients: it reads their commands, and answers `echo.up` with a push to whoever asked.
//!
//! `cargo run -p gim-examples --bin answer -- --redis redis://127.0.0.1:6379`, beside a node of mode `redis` that sends
//! commands up. In a client then: `echo.up {"text":"hello"}`.
//!
//! A command may come twice, as after a crash between the push and the acknowledgement. Its answer has an id made of the
//! command's, so the queue takes it once.
#![expect(clippy::print_stdout, reason = "what it did is what this program is to show")]

use std::time::Duration;

use clap::Parser;
use gim_examples::backoff::Backoff;
use gim_proto::EntryId;
use gim_proxy_sdk::producer::{Producer, ProducerOptions};
use gim_proxy_sdk::store::RedisOptions;
use gim_proxy_sdk::upstream::{Command, Delivery, Subscriber, SubscriberOptions};
use gim_proxy_sdk::{Error, Fields};
use serde_json::{Value, json};

/// Answers clients' commands.
#[derive(Parser)]
struct Args {
    /// The Redis of the nodes
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis: String,
    /// What their keys begin with
    #[arg(long, default_value = "gim")]
    prefix: String,
    /// The name of this service: each service gets every command
    #[arg(long, default_value = "answer")]
    group: String,
    /// The name of this process of it, the same when it starts again
    #[arg(long, default_value = "answer-1")]
    consumer: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Args { redis, prefix, group, consumer } = Args::parse();
    let redis = RedisOptions::parse(&redis)?;
    let options = ProducerOptions { prefix: prefix.clone(), ..ProducerOptions::default() };
    let producer = Producer::connect(redis.clone(), options).await?;
    let options = SubscriberOptions { prefix, ..SubscriberOptions::new(group, consumer) };
    let mut commands = Subscriber::connect(redis, options).await?;
    println!("waiting for commands");
    // Dropping a read loses nothing: what it would have brought is not acknowledged.
    let ended = tokio::select! {
        ended = serve(&mut commands, &producer) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    commands.close().await;
    Ok(ended?)
}

async fn serve(commands: &mut Subscriber, producer: &Producer) -> Result<(), Error> {
    loop {
        let deliveries = read(commands).await?;
        answer_all(&deliveries, producer).await?;
        // Only now: whoever acknowledges first loses what a crash in between leaves undone.
        let done: Vec<EntryId> = deliveries.iter().map(|delivery| delivery.id).collect();
        commands.ack(&done).await.or_else(later)?;
    }
}

async fn read(commands: &mut Subscriber) -> Result<Vec<Delivery>, Error> {
    let mut backoff = backoff();
    loop {
        match commands.next().await {
            Err(error) if error.is_retryable() => pause(&mut backoff, &error).await,
            answer => return answer,
        }
    }
}

/// Repeats the push until it is accepted. An attempt whose answer got lost may have been: the ids make that safe.
async fn answer_all(deliveries: &[Delivery], producer: &Producer) -> Result<(), Error> {
    let answers: Vec<Fields> = deliveries.iter().filter_map(|delivery| answer(&delivery.command)).collect();
    let mut backoff = backoff();
    while !answers.is_empty() {
        match producer.enqueue(answers.clone()).await.map_err(Error::from) {
            Ok(ids) => {
                println!("answered {} commands", ids.len());
                break;
            }
            Err(error) if error.is_retryable() => pause(&mut backoff, &error).await,
            Err(error) if answers.len() == 1 => {
                // Nobody can answer it, today or tomorrow: it must not stop those behind it.
                println!("a command cannot be answered: {error}");
                break;
            }
            // One of them spoils the call for all.
            Err(_) => {
                for delivery in deliveries {
                    Box::pin(answer_all(std::slice::from_ref(delivery), producer)).await?;
                }
                break;
            }
        }
    }
    Ok(())
}

/// Makes the entry for the queue. None: it is somebody else's command.
fn answer(command: &Command) -> Option<Fields> {
    if command.cmd != "echo.up" {
        return None;
    }
    let data: Value = serde_json::from_slice(&command.data).unwrap_or_default();
    let fields = [
        ("to_uid", command.uid.to_string()),
        ("id", format!("answer-{}", command.id)),
        ("mol", "echo".to_owned()),
        ("data", json!({ "seq": command.seq, "data": data }).to_string()),
    ];
    Some(fields.into_iter().collect())
}

/// What could not be acknowledged comes again, and is answered again under the same id.
fn later(error: Error) -> Result<(), Error> {
    if !error.is_retryable() {
        return Err(error);
    }
    println!("not acknowledged: {error}");
    Ok(())
}

async fn pause(backoff: &mut Backoff, error: &Error) {
    println!("not yet: {error}");
    tokio::time::sleep(backoff.next_wait()).await;
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(10))
}
