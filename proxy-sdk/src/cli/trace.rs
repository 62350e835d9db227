//! `gim trace`: the way of one message, or what one user does right now.
//!
//! Owns the choice between the two, and how long a message is waited for. Times of different processes are those of their
//! own clocks: what depends on the difference of two is marked.

mod user;

use std::io;

use gim_proto::MessageId;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::answer::Answer;
use super::args;
use super::screen::Screen;
use super::table::{Table, printable};
use super::way::Way;
use super::{DONE, FAILED, NOT_THERE, time};
use crate::Error;
use crate::ledger::{Hop, Step, steps};

/// How often a message is asked for while it is followed.
const EVERY: Duration = Duration::from_millis(100);

/// Shows it, and goes on as asked for. The exit code says whether anything is known.
pub(super) async fn run(trace: args::Trace, way: &Way, screen: &mut Screen<'_>) -> (u8, io::Result<()>) {
    let followed = match (trace.id, trace.uid) {
        (_, Some(uid)) => return user::run(&uid, trace.limit, way, screen).await,
        (Some(id), _) if trace.follow => follow(&id, trace.limit.unwrap_or(LONGEST), way, screen).await,
        (Some(id), _) => once(&id, way, screen).await,
        (None, None) => Ok((NOT_THERE, Ok(()))),
    };
    followed.unwrap_or_else(|error| (FAILED, screen.complain(&error)))
}

/// How long a message is followed unless it is said.
const LONGEST: Duration = Duration::from_secs(30);

async fn once(id: &MessageId, way: &Way, screen: &mut Screen<'_>) -> Result<(u8, io::Result<()>), Error> {
    let hops = way.any().await?.journey(id).await?;
    if hops.is_empty() {
        return Ok((NOT_THERE, screen.show(&unknown(id))));
    }
    let steps = steps(&hops);
    let mut table = Table::new(&["AT", "SINCE FIRST", "SINCE LAST", "HOP", "TARGET", "PROCESS", "DETAIL"]);
    steps.iter().for_each(|step| table.row(cells(step)));
    let note = if has_other_clock(&steps) { "\n* another process's clock than the step before" } else { "" };
    Ok((DONE, screen.show(&Answer::done(format!("{table}{note}"), json!({ "id": id, "hops": steps })))))
}

/// Shows each step as it becomes known, until the message has its end.
async fn follow(
    id: &MessageId,
    most: Duration,
    way: &Way,
    screen: &mut Screen<'_>,
) -> Result<(u8, io::Result<()>), Error> {
    let (client, end) = (way.any().await?, Instant::now() + most);
    let mut shown: Vec<Hop> = Vec::new();
    loop {
        let hops = client.journey(id).await?;
        for step in steps(&hops).iter().filter(|step| !shown.contains(step.hop)) {
            if let Err(error) = line(step, screen) {
                return Ok((DONE, Err(error)));
            }
        }
        shown = hops;
        if has_ended(&shown) {
            return Ok((DONE, Ok(())));
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        if Instant::now() >= end {
            break;
        }
    }
    if shown.is_empty() { Ok((NOT_THERE, screen.show(&unknown(id)))) } else { Ok((DONE, Ok(()))) }
}

/// Whether nothing more is to come. What is stored goes on until its client has it.
fn has_ended(hops: &[Hop]) -> bool {
    let has = |word: &str| hops.iter().any(|hop| &*hop.hop == word);
    has("dead") || has("acked") || (has("settled") && !has("stored"))
}

fn line(step: &Step<'_>, screen: &mut Screen<'_>) -> io::Result<()> {
    if screen.is_json {
        writeln!(screen.out, "{}", json!(step))?;
    } else {
        let [at, first, last, hop, target, node, detail] = cells(step).map(|cell| printable(&cell));
        writeln!(screen.out, "{at}  {first:>10}  {last:>10}  {hop:<9}  {target}  {node}  {detail}")?;
    }
    screen.out.flush()
}

fn cells(step: &Step<'_>) -> [String; 7] {
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
    let mark = if step.other_clock { "*" } else { "" };
    [
        time::show_moment(step.hop.at_us),
        time::show_span(step.since_first_us),
        format!("{}{mark}", time::show_span(step.since_last_us)),
        step.hop.hop.to_string(),
        text(&step.hop.target),
        step.hop.node.to_string(),
        text(&step.hop.detail),
    ]
}

fn has_other_clock(steps: &[Step<'_>]) -> bool {
    steps.iter().any(|step| step.other_clock)
}

fn unknown(id: &MessageId) -> Answer {
    let text = format!("nothing is known of {id}: it was not traced, or too long ago");
    Answer::not_there(text, json!({ "id": id, "hops": [] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(words: &[&str]) -> Vec<Hop> {
        let hop = |word: &&str| Hop {
            id: MessageId::parse("m").unwrap(),
            hop: (*word).into(),
            target: None,
            detail: None,
            node: "n".into(),
            at_us: 0,
        };
        words.iter().map(hop).collect()
    }

    #[test]
    fn a_message_ends_when_it_is_settled_and_a_stored_one_when_its_client_has_it() {
        assert!(!has_ended(&hops(&["accepted", "read", "offered"])));
        assert!(has_ended(&hops(&["accepted", "offered", "settled"])));
        assert!(!has_ended(&hops(&["stored", "settled", "written"])));
        assert!(has_ended(&hops(&["stored", "settled", "written", "acked"])));
        assert!(has_ended(&hops(&["retry", "dead"])));
    }

    #[test]
    fn a_step_on_another_clock_is_marked() {
        let mut hops = hops(&["accepted", "read"]);
        hops[1].node = "w".into();
        hops[1].at_us = 1_500;
        let steps = steps(&hops);
        assert_eq!(cells(&steps[1])[1..3], ["1.500ms".to_owned(), "1.500ms*".to_owned()]);
        assert!(has_other_clock(&steps));
    }
}
