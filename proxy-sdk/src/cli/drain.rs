//! `gim drain`: a node without its sessions.

use serde_json::json;

use super::answer::Answer;
use super::args;
use super::way::Way;
use crate::Error;

pub(super) async fn run(drain: args::Drain, way: &Way) -> Result<Answer, Error> {
    let id = drain.id;
    let drained = way.named(&id).await?.drain().await?;
    let text = format!("drained {id}: {} closed, {} cut at the deadline", drained.clean, drained.forced);
    Ok(Answer::done(text, json!({ "node": id, "clean": drained.clean, "forced": drained.forced })))
}
