//! Fan-out, burst, unicast: what is sent to connections that stay.

use serde_json::json;

use super::{Plan, stage::Stage};
use crate::bench::client::Work;
use crate::bench::feed::{Class, Entry, To};
use crate::bench::figures::Figures;
use crate::bench::pace::Draw;
use crate::bench::{Result, clock, message};

pub(super) fn fanout(plan: &Plan, rate: u64, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    let group = plan.tgid(0)?;
    let work = Work { join: vec![group.to_string()], ..plan.work(plan.connections) };
    let mut stage = plan.stage(&work, false, tell)?;
    let members = stage.logins.connected;
    let mut sent = 0;
    let mut entry = |batch: crate::bench::pace::Batch, _| {
        sent += 1;
        Ok(Entry::new(To::Group(group.clone()), message::payload(batch.due, sent, plan.payload)))
    };
    // A second that nobody counts: first allocations, caches, congestion windows.
    stage.paced(rate, rate, members, &mut entry)?;
    tell(format!("warm; {rate} messages/s for {} s", plan.seconds));
    let measured = stage.paced(rate, rate * plan.seconds, members, &mut entry)?;
    let mut figures = stage.figures("fanout", plan, measured);
    figures.asked =
        format!("{rate} messages/s of {} bytes to a group of {members} for {} s", plan.payload, plan.seconds);
    figures.settings = plan.to_json(json!({ "fanout": { "rate": rate } }));
    Ok(figures)
}

pub(super) fn burst(plan: &Plan, messages: u64, groups: u64, tell: &mut dyn FnMut(String)) -> Result<Figures> {
    let names = (0..groups).map(|number| plan.tgid(number)).collect::<Result<Vec<_>>>()?;
    let work = Work { join: names.iter().map(ToString::to_string).collect(), ..plan.work(plan.connections) };
    let mut stage = plan.stage(&work, false, tell)?;
    let members = stage.logins.connected;
    // By turns, each group's in an order of its own.
    let entries = |from: u64, to: u64| -> Vec<Entry> {
        let due = clock::now();
        let numbered = |nth: u64| message::numbered(nth % groups, nth / groups + 1);
        let group = |nth: u64| names.get(usize::try_from(nth % groups).unwrap_or(0)).cloned();
        let entry = |nth| Some(Entry::new(To::Group(group(nth)?), message::payload(due, numbered(nth), plan.payload)));
        (from..to).filter_map(entry).collect()
    };
    stage.at_once(&entries(0, groups), members)?;
    tell(format!("warm; {messages} messages at once"));
    let measured = stage.at_once(&entries(groups, groups + messages), members)?;
    let mut figures = stage.figures("burst", plan, measured);
    figures.asked =
        format!("{messages} messages of {} bytes at once, by turns to {groups} groups of {members}", plan.payload);
    figures.settings = plan.to_json(json!({ "burst": { "messages": messages, "groups": groups } }));
    figures.notes.push(
        "what does not fit into session.outbox_bytes, outbox_frames and outbox_total of the nodes is dropped: a burst above \
         them is lost on purpose"
            .to_owned(),
    );
    Ok(figures)
}

pub(super) fn unicast(
    plan: &Plan,
    rate: u64,
    ids: bool,
    class: Class,
    tell: &mut dyn FnMut(String),
) -> Result<Figures> {
    let is_durable = class != Class::Live;
    let mut stage: Stage = plan.stage(&plan.work(plan.connections), is_durable, tell)?;
    let users = plan.users(stage.logins.connected)?;
    let mut draw = Draw::new(0, users.len());
    let mut entry = |batch: crate::bench::pace::Batch, nth: u64| {
        let (user, number) = draw.draw();
        let to = users.get(user).cloned().ok_or("no such user")?;
        let mut entry = Entry::new(To::User(to), message::payload(batch.due, number, plan.payload));
        entry.class = class;
        entry.id = ids.then(|| message::id(batch.due + nth));
        Ok(entry)
    };
    stage.paced(rate, rate, 1, &mut entry)?;
    tell(format!("warm; {rate} messages/s for {} s", plan.seconds));
    let measured = stage.paced(rate, rate * plan.seconds, 1, &mut entry)?;
    let what = if is_durable { "durable" } else { "unicast" };
    let mut figures = stage.figures(what, plan, measured);
    let (count, name) = (users.len(), class.name());
    figures.asked =
        format!("{rate} messages/s of {} bytes ({name}) to {count} users for {} s", plan.payload, plan.seconds);
    figures.settings = plan.to_json(json!({ what: { "rate": rate, "ids": ids, "class": name } }));
    Ok(figures)
}
