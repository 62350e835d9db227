//! `/api/v1/groups`: which groups have members here, who they are, which nodes hold others, and membership on a user's
//! behalf.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gim_msg_queue::admin::ApiError;
use gim_proto::{Tgid, Uid};
use gim_proxy_sdk::RunProxy;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Path, Query};
use crate::core::Core;

/// Names in one answer, unless fewer are asked for.
const MOST: usize = 1_000;

/// Where a list goes on.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// After this name.
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(MOST).clamp(1, MOST)
    }

    /// Sorts by name and keeps the page. Returns whether there is more.
    fn cut<T>(&self, names: &mut Vec<T>, name: impl Fn(&T) -> &str) -> bool {
        names.sort_by(|left, right| name(left).cmp(name(right)));
        if let Some(after) = &self.after {
            let first = names.partition_point(|item| name(item) <= after.as_str());
            names.drain(..first);
        }
        let more = names.len() > self.limit();
        names.truncate(self.limit());
        more
    }
}

pub(super) async fn list(State(core): State<Arc<Core>>, Query(page): Query<Page>) -> Json<Value> {
    let mut groups = core.hub.groups.list();
    groups.retain(|(_, members)| *members > 0);
    let total = groups.len();
    let more = page.cut(&mut groups, |(tgid, _)| tgid.as_str());
    let groups: Vec<_> = groups.iter().map(|(tgid, members)| json!({ "tgid": tgid, "members": members })).collect();
    Json(json!({ "groups": groups, "total": total, "more": more }))
}

pub(super) async fn show(
    State(core): State<Arc<Core>>,
    Path(tgid): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let tgid = Tgid::parse(&tgid)?;
    let members = core.hub.groups.find(&tgid).map(|group| group.snapshot());
    let mut uids: Vec<Uid> =
        members.iter().flat_map(|members| members.iter()).map(|member| member.session.uid().clone()).collect();
    let total = uids.len();
    let more = page.cut(&mut uids, Uid::as_str);
    // Null: the directory does not answer. The members here are known all the same.
    let holders = core.directory.holders(std::slice::from_ref(&tgid)).await.ok();
    let durable = core.directory.count_durable(&tgid).await.ok();
    let nodes: Option<Vec<_>> = holders.as_ref().map(|nodes| nodes.iter().map(|node| &node.id).collect());
    Ok(Json(json!({
        "tgid": tgid,
        "members": uids,
        "total": total,
        "more": more,
        "nodes": nodes,
        "durable": durable,
    })))
}

/// How a user joins.
#[derive(Debug, Deserialize)]
pub(super) struct Joining {
    #[serde(default)]
    durable: bool,
}

pub(super) async fn join(
    State(core): State<Arc<Core>>,
    Path((tgid, uid)): Path<(String, String)>,
    Query(joining): Query<Joining>,
) -> Result<StatusCode, ApiError> {
    let (tgid, uid) = (Tgid::parse(&tgid)?, Uid::parse(&uid)?);
    if joining.durable {
        let _is_online = core.proxy().join_group_durably(&uid, &tgid).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    if core.proxy().join_group(&uid, &tgid).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::offline()) }
}

pub(super) async fn leave(
    State(core): State<Arc<Core>>,
    Path((tgid, uid)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (tgid, uid) = (Tgid::parse(&tgid)?, Uid::parse(&uid)?);
    if core.proxy().leave_group(&uid, &tgid).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::offline()) }
}
