//! `gim kick`, `gim join`, `gim leave`.

use gim_proto::Uid;
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::{Kick, Member};
use crate::{Error, NodeClient, RunProxy};

pub(super) async fn kick(kick: Kick, client: &NodeClient) -> Result<Answer, Error> {
    let Kick { uid, reason } = kick;
    let stopped = client.stop_user_client(&uid, &reason).await?;
    let json = json!({ "uid": uid, "stopped": stopped });
    Ok(answer(stopped, &uid, format!("kicked {uid}"), json))
}

pub(super) async fn join(member: Member, client: &NodeClient) -> Result<Answer, Error> {
    let Member { tgid, uid } = member;
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
