//! The verbs with which services send: [`RunProxy`] from anywhere, [`LocalProxy`] inside a node.
//!
//! Owns the traits. A direct send goes past the queue: it is offered now or its outcome says why not.

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::{Fields, MessageId, Tgid, Uid};
use serde_json::Value;

use crate::{Error, ErrorKind, Sent};

/// Sends to users and groups wherever they are connected.
///
/// `send_res_data_*` wraps a JSON value into the response envelope, `send_msg_*` delivers bytes as they are.
/// Every call has a deadline (2 s unless the implementation says otherwise). Being offline is an
/// [`Outcome`](crate::Outcome), not an error.
#[async_trait]
pub trait RunProxy: Send + Sync {
    /// Sends a JSON value to a user.
    async fn send_res_data_to_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error>;
    /// Sends a JSON value to a user, only if a member of the group.
    async fn send_res_data_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error>;
    /// Sends a JSON value to every member of a group but `except`.
    async fn send_res_data_to_group(&self, tgid: &Tgid, data: &Value, except: Option<&Uid>) -> Result<Sent, Error>;
    /// Sends bytes to a user.
    async fn send_msg_to_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error>;
    /// Sends bytes to a user, only if a member of the group.
    async fn send_msg_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error>;
    /// Sends bytes to every member of a group but `except`.
    async fn send_msg_to_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error>;
    /// Ends a user's connection with close code 4503. False: the user was not online.
    async fn stop_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error>;
    /// Puts a connected user into a group. False: the user was not online.
    async fn join_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error>;
    /// Makes a user, connected or not, a member of a group until it leaves. Returns whether it is connected.
    ///
    /// # Errors
    /// `Full`: the group has as many durable members as it may.
    async fn join_group_durably(&self, _uid: &Uid, _tgid: &Tgid) -> Result<bool, Error> {
        Err(Error::new(ErrorKind::Unsupported, "durable membership is not done here"))
    }
    /// Takes a user out of a group, also if durably in it. False: the user was not online, and no durable member.
    async fn leave_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error>;
    /// Puts entries on the queue, all or none. Returns their message ids in order.
    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, Error>;
}

/// The same verbs for the sessions of the node the code runs in. Nothing leaves the process.
#[async_trait]
pub trait LocalProxy: RunProxy {
    /// Sends a JSON value to a user of this node.
    async fn send_res_data_to_local_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error>;
    /// Sends a JSON value to a user of this node, only if a member of the group.
    async fn send_res_data_to_local_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error>;
    /// Sends a JSON value to this node's members of a group but `except`.
    async fn send_res_data_to_local_group(
        &self,
        tgid: &Tgid,
        data: &Value,
        except: Option<&Uid>,
    ) -> Result<Sent, Error>;
    /// Sends bytes to a user of this node.
    async fn send_msg_to_local_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error>;
    /// Sends bytes to a user of this node, only if a member of the group.
    async fn send_msg_to_local_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error>;
    /// Sends bytes to this node's members of a group but `except`.
    async fn send_msg_to_local_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error>;
    /// Ends the connection of a user of this node. False: not connected here.
    async fn stop_local_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error>;
    /// Puts a user of this node into a group. False: not connected here.
    async fn join_local_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error>;
    /// Makes a user of this node a member of a group until it leaves. False: not connected here.
    ///
    /// # Errors
    /// `Full`: the group has as many durable members as it may.
    async fn join_local_group_durably(&self, _uid: &Uid, _tgid: &Tgid) -> Result<bool, Error> {
        Err(Error::new(ErrorKind::Unsupported, "durable membership is not done here"))
    }
    /// Takes a user of this node out of a group, also if durably in it. False: not connected here.
    async fn leave_local_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error>;
}
