//! `gim cancel`: a message that is taken back.

use serde_json::json;

use super::answer::Answer;
use super::args;
use crate::queue::Cancelled;
use crate::{Error, NodeClient};

pub(super) async fn run(cancel: args::Cancel, node: &NodeClient) -> Result<Answer, Error> {
    let args::Cancel { id, uid } = cancel;
    let cancelled = node.cancel(&id, uid.as_ref()).await?;
    let (text, outcome) = match cancelled {
        Cancelled::Done(_) => ("cancelled", "done"),
        Cancelled::TooLate => ("too late: it is being delivered, or was:", "too_late"),
        Cancelled::Unknown => ("unknown:", "unknown"),
    };
    let (text, json) = (format!("{text} {id}"), json!({ "id": id, "outcome": outcome }));
    Ok(if outcome == "done" { Answer::done(text, json) } else { Answer::not_there(text, json) })
}
