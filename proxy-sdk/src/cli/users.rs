//! `gim users`, `gim kick`, `gim join`, `gim leave`.

use gim_proto::Uid;
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::{Join, Kick, Member, Users};
use super::table::Table;
use crate::{Error, NodeClient, RunProxy};

/// Done if at least one is online.
pub(super) async fn show(users: Users, client: &NodeClient) -> Result<Answer, Error> {
    let Users { uids } = users;
    let found = client.lookup(&uids).await?;
    let mut table = Table::new(&["UID", "NODE", "FENCE"]);
    let mut json = Vec::new();
    for (uid, state) in uids.iter().zip(&found) {
        match state {
            Some((node, fence)) => {
                table.row([uid.to_string(), node.to_string(), fence.to_string()]);
                json.push(json!({ "uid": uid, "online": true, "node": node, "fence": fence.0 }));
            }
            None => {
                table.row([uid.to_string(), "-".to_owned(), "-".to_owned()]);
                json.push(json!({ "uid": uid, "online": false }));
            }
        }
    }
    let (text, json) = (table.to_string(), json!({ "users": json }));
    Ok(if found.iter().any(Option::is_some) { Answer::done(text, json) } else { Answer::not_there(text, json) })
}

pub(super) async fn kick(kick: Kick, client: &NodeClient) -> Result<Answer, Error> {
    let Kick { uid, reason } = kick;
    let stopped = client.stop_user_client(&uid, &reason).await?;
    let json = json!({ "uid": uid, "stopped": stopped });
    Ok(answer(stopped, &uid, format!("kicked {uid}"), json))
}

pub(super) async fn join(join: Join, client: &NodeClient) -> Result<Answer, Error> {
    let Join { member: Member { tgid, uid }, durable } = join;
    if durable {
        let online = client.join_group_durably(&uid, &tgid).await?;
        let json = json!({ "tgid": tgid, "uid": uid, "online": online, "durable": true });
        return Ok(Answer::done(format!("{uid} is in {tgid} until it leaves"), json));
    }
    let online = client.join_group(&uid, &tgid).await?;
    let json = json!({ "tgid": tgid, "uid": uid, "online": online });
    Ok(answer(online, &uid, format!("{uid} is in {tgid}"), json))
}

pub(super) async fn leave(member: Member, client: &NodeClient) -> Result<Answer, Error> {
    let Member { tgid, uid } = member;
    let online = client.leave_group(&uid, &tgid).await?;
    let json = json!({ "tgid": tgid, "uid": uid, "online": online });
    Ok(answer(online, &uid, format!("{uid} is not in {tgid}"), json))
}

fn answer(is_online: bool, uid: &Uid, text: String, json: Value) -> Answer {
    if is_online { Answer::done(text, json) } else { Answer::not_there(format!("{uid} is not online"), json) }
}
