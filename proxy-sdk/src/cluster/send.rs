//! The verbs of [`RunProxy`], each one call of the node that is chosen.

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::{Fields, MessageId, Tgid, Uid};
use serde_json::Value;

use super::ClusterClient;
use crate::{Error, RunProxy, Sent};

#[async_trait]
impl RunProxy for ClusterClient {
    async fn send_res_data_to_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error> {
        self.through(|node| async move { node.send_res_data_to_user(uid, data).await }).await
    }

    async fn send_res_data_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error> {
        self.through(|node| async move { node.send_res_data_to_user_by_tgid(uid, tgid, data).await }).await
    }

    async fn send_res_data_to_group(&self, tgid: &Tgid, data: &Value, except: Option<&Uid>) -> Result<Sent, Error> {
        self.through(|node| async move { node.send_res_data_to_group(tgid, data, except).await }).await
    }

    async fn send_msg_to_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error> {
        let message = &message;
        self.through(|node| async move { node.send_msg_to_user(uid, message.clone()).await }).await
    }

    async fn send_msg_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error> {
        let message = &message;
        self.through(|node| async move { node.send_msg_to_user_by_tgid(uid, tgid, message.clone()).await }).await
    }

    async fn send_msg_to_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error> {
        let message = &message;
        self.through(|node| async move { node.send_msg_to_group(tgid, message.clone(), except).await }).await
    }

    async fn stop_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        self.through(|node| async move { node.stop_user_client(uid, reason).await }).await
    }

    async fn join_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.through(|node| async move { node.join_group(uid, tgid).await }).await
    }

    async fn join_group_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.through(|node| async move { node.join_group_durably(uid, tgid).await }).await
    }

    async fn leave_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.through(|node| async move { node.leave_group(uid, tgid).await }).await
    }

    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, Error> {
        let entries = &entries;
        self.through(|node| async move { node.enqueue(entries.clone()).await }).await
    }
}
