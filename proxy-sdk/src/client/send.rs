//! The verbs of [`RunProxy`], each one call of the node.

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::rpc::node_client::NodeClient as Node;
use gim_proto::rpc::{self, SendOutcome};
use gim_proto::{Fence, Fields, MessageId, NodeId, Tgid, Uid};
use serde_json::Value;

use super::{NodeClient, status};
use crate::{Body, Error, ErrorKind, Outcome, RunProxy, Sent};

impl NodeClient {
    /// Sends to a user, past the queue; with `of` only if a member of that group.
    ///
    /// # Errors
    /// Kind `Invalid`: a response that is no JSON object, or a body above the node's bound.
    pub async fn send_to_user(&self, uid: &Uid, of: Option<&Tgid>, body: Body) -> Result<Sent, Error> {
        let (bytes, body) = to_wire(body);
        let tgid = of.map(ToString::to_string).unwrap_or_default();
        let request = rpc::SendToUserRequest { uid: uid.to_string(), tgid, body: Some(body) };
        let call = |channel, request| async move { Node::new(channel).send_to_user(request).await };
        sent(self.calls.call(bytes, request, call).await?)
    }

    /// Sends to every member of a group but `except`, past the queue.
    ///
    /// # Errors
    /// Kind `Invalid`: a response that is no JSON object, or a body above the node's bound.
    pub async fn send_to_group(&self, tgid: &Tgid, except: Option<&Uid>, body: Body) -> Result<Sent, Error> {
        let (bytes, body) = to_wire(body);
        let except_uid = except.map(ToString::to_string).unwrap_or_default();
        let request = rpc::SendToGroupRequest { tgid: tgid.to_string(), except_uid, body: Some(body) };
        let call = |channel, request| async move { Node::new(channel).send_to_group(request).await };
        sent(self.calls.call(bytes, request, call).await?)
    }

    /// Ends a user's connection with 4503; with `here` only one to the node that is asked, for nodes among themselves.
    /// False: not connected.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn stop_user(&self, uid: &Uid, reason: &str, here: bool) -> Result<bool, Error> {
        let request = rpc::StopRequest { uid: uid.to_string(), reason: reason.to_owned(), here };
        let call = |channel, request| async move { Node::new(channel).stop(request).await };
        Ok(self.calls.call(reason.len(), request, call).await?.stopped)
    }

    /// Puts a user into a group; `here` as in [`stop_user`](Self::stop_user). False: not connected.
    ///
    /// # Errors
    /// Kind `Invalid`: the session is in as many groups as it may be.
    pub async fn join(&self, uid: &Uid, tgid: &Tgid, here: bool) -> Result<bool, Error> {
        self.join_as(uid, tgid, here, false).await
    }

    /// Makes a user a durable member of a group; `here` as in [`stop_user`](Self::stop_user), and without it whether
    /// connected or not. False: not connected.
    ///
    /// # Errors
    /// Kind `Full`: the group has as many durable members as it may. Kind `Invalid`: the session is in as many groups as
    /// it may be.
    pub async fn join_durably(&self, uid: &Uid, tgid: &Tgid, here: bool) -> Result<bool, Error> {
        self.join_as(uid, tgid, here, true).await
    }

    async fn join_as(&self, uid: &Uid, tgid: &Tgid, here: bool, durable: bool) -> Result<bool, Error> {
        let request = rpc::JoinRequest { uid: uid.to_string(), tgid: tgid.to_string(), here, durable };
        let call = |channel, request| async move { Node::new(channel).join(request).await };
        Ok(self.calls.call(0, request, call).await?.online)
    }

    /// Takes a user out of a group, also if durably in it; `here` as in [`stop_user`](Self::stop_user). False: not
    /// connected, and without `here` no durable member either.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn leave(&self, uid: &Uid, tgid: &Tgid, here: bool) -> Result<bool, Error> {
        let request = rpc::LeaveRequest { uid: uid.to_string(), tgid: tgid.to_string(), here };
        let call = |channel, request| async move { Node::new(channel).leave(request).await };
        Ok(self.calls.call(0, request, call).await?.online)
    }

    /// Tells where users are connected, in the order asked, as of now. At most 10,000.
    ///
    /// # Errors
    /// Kind `Invalid`: too many.
    pub async fn lookup(&self, uids: &[Uid]) -> Result<Vec<UserState>, Error> {
        let request = rpc::LookupRequest { uids: uids.iter().map(ToString::to_string).collect() };
        let call = |channel, request| async move { Node::new(channel).lookup(request).await };
        let users = self.calls.call(0, request, call).await?.users;
        if users.len() != uids.len() {
            return Err(status::unreadable("another number of users than was asked for"));
        }
        users.into_iter().map(user_state).collect()
    }
}

/// Where a user is connected. None: offline.
pub type UserState = Option<(NodeId, Fence)>;

fn user_state(user: rpc::UserState) -> Result<UserState, Error> {
    let rpc::UserState { online, node, fence } = user;
    if !online {
        return Ok(None);
    }
    let node = NodeId::parse(&node).map_err(|_| status::unreadable("a node's name"))?;
    Ok(Some((node, Fence(fence))))
}

#[async_trait]
impl RunProxy for NodeClient {
    async fn send_res_data_to_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error> {
        self.send_to_user(uid, None, response(data)?).await
    }

    async fn send_res_data_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error> {
        self.send_to_user(uid, Some(tgid), response(data)?).await
    }

    async fn send_res_data_to_group(&self, tgid: &Tgid, data: &Value, except: Option<&Uid>) -> Result<Sent, Error> {
        self.send_to_group(tgid, except, response(data)?).await
    }

    async fn send_msg_to_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error> {
        self.send_to_user(uid, None, Body::Raw(message)).await
    }

    async fn send_msg_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error> {
        self.send_to_user(uid, Some(tgid), Body::Raw(message)).await
    }

    async fn send_msg_to_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error> {
        self.send_to_group(tgid, except, Body::Raw(message)).await
    }

    async fn stop_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        self.stop_user(uid, reason, false).await
    }

    async fn join_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.join(uid, tgid, false).await
    }

    async fn join_group_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.join_durably(uid, tgid, false).await
    }

    async fn leave_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.leave(uid, tgid, false).await
    }

    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, Error> {
        let (bytes, count) = (entries.iter().map(Fields::bytes).sum(), entries.len());
        let request = rpc::EnqueueRequest { entries: entries.into_iter().map(Into::into).collect() };
        let call = |channel, request| async move { Node::new(channel).enqueue(request).await };
        let ids = self.calls.call(bytes, request, call).await?.ids;
        if ids.len() != count {
            return Err(status::unreadable("another number of ids than of entries"));
        }
        ids.iter().map(|id| message_id(id)).collect()
    }
}

/// A response body is a JSON object; see the wire's `data`.
fn response(data: &Value) -> Result<Body, Error> {
    if !data.is_object() {
        return Err(Error::new(ErrorKind::Invalid, "data must be a JSON object"));
    }
    Ok(Body::Response(Bytes::from(data.to_string())))
}

fn to_wire(body: Body) -> (usize, rpc::Body) {
    let (bytes, body) = match body {
        Body::Response(json) => (json.len(), rpc::body::Body::Response(json)),
        Body::Raw(bytes) => (bytes.len(), rpc::body::Body::Raw(bytes)),
    };
    (bytes, rpc::Body { body: Some(body) })
}

fn sent(answer: rpc::SendResponse) -> Result<Sent, Error> {
    let outcome = match answer.outcome() {
        SendOutcome::Offered => Outcome::Offered,
        SendOutcome::Offline => Outcome::Offline,
        SendOutcome::NotMember => Outcome::NotMember,
        SendOutcome::Slow => Outcome::Slow,
        SendOutcome::Unspecified => return Err(status::unreadable("an outcome")),
    };
    Ok(Sent { id: message_id(&answer.id)?, outcome, sessions: answer.sessions })
}

fn message_id(id: &str) -> Result<MessageId, Error> {
    MessageId::parse(id).map_err(|_| status::unreadable("a message id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_an_object() {
        assert!(matches!(response(&serde_json::json!({ "x": 1 })), Ok(Body::Response(json)) if json == r#"{"x":1}"#));
        for data in [serde_json::json!(1), serde_json::json!([]), Value::Null] {
            assert_eq!(response(&data).map(|_| ()).map_err(|error| error.kind), Err(ErrorKind::Invalid), "{data}");
        }
    }

    #[test]
    fn an_outcome_of_a_later_version_is_an_error() {
        let answer = rpc::SendResponse { outcome: 99, sessions: 0, id: "a".to_owned() };
        assert_eq!(sent(answer).map_err(|error| error.kind), Err(ErrorKind::Internal));
    }
}
