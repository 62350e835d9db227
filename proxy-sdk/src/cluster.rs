//! Sends from other services into a cluster: through whichever node answers, found in etcd.
//!
//! Owns the choice of the node. The node that is asked routes: to its own users directly, to others by their node. A
//! call is given to another node only while it certainly had no effect. Never speaks to Redis.

mod choice;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::{Fields, Keys, MessageId, NodeId, Tgid, Uid};
use serde_json::Value;
use tokio::time::timeout;

use self::choice::Choice;
use crate::etcd::{EtcdOptions, Watcher};
use crate::{ClientOptions, Error, ErrorKind, NodeClient, RunProxy, Sent};

/// Nodes tried for one call, at most.
const TRIES: usize = 3;

/// Sends into a cluster. Clones share connections and the view of who is there.
///
/// Every call has a deadline ([`ClientOptions::deadline`], 2 s unless set) over all nodes tried. One that ends with
/// [`Timeout`](ErrorKind::Timeout), or whose connection broke, may have taken effect and is not repeated here.
#[derive(Clone)]
pub struct ClusterClient {
    watcher: Watcher,
    choice: Arc<Choice>,
    options: ClientOptions,
}

impl ClusterClient {
    /// Finds the nodes of the cluster whose keys begin with `prefix` (`gim` unless configured), and goes on watching
    /// them. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Kind `Invalid`: prefix or endpoints are none. Kind `Unavailable`: etcd does not answer within the deadline.
    pub async fn connect(etcd: &EtcdOptions, prefix: &str, options: ClientOptions) -> Result<Self, Error> {
        let invalid = |detail: String| Error::new(ErrorKind::Invalid, detail);
        let keys = Keys::new(prefix).map_err(|error| invalid(error.to_string()))?;
        etcd.check().map_err(|error| invalid(error.to_string()))?;
        let watcher = Watcher::start(etcd, &keys);
        if watcher.first(options.deadline).await.is_none() {
            return Err(Error::new(ErrorKind::Unavailable, "etcd does not answer"));
        }
        Ok(Self { watcher, choice: Arc::default(), options })
    }

    /// Names the nodes registered now.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.watcher.snapshot().nodes().keys().cloned().collect()
    }

    /// Chooses a node, each in turn, those that did not answer lately last. For calls that [`RunProxy`] has not.
    ///
    /// # Errors
    /// Kind `Unavailable`: no node is registered.
    pub fn any(&self) -> Result<NodeClient, Error> {
        self.next(&[]).map(|(_, client)| client)
    }

    fn next(&self, tried: &[NodeId]) -> Result<(NodeId, NodeClient), Error> {
        let chosen = self.choice.next(&self.watcher.snapshot(), tried, &self.options);
        chosen.ok_or_else(|| Error::new(ErrorKind::Unavailable, "no node of the cluster can be reached"))
    }

    /// Whether a call that failed may be given to another node, which is noted.
    fn may_go_on(&self, node: &NodeId, error: &Error) -> bool {
        let unsent = is_unsent(error);
        if unsent {
            self.choice.avoid(node);
        }
        unsent
    }
}

/// A call whose connection could not even be made has had no effect.
fn is_unsent(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Calls a verb of one node after the other until one has taken it.
macro_rules! through {
    ($self:ident, $client:ident => $call:expr) => {{
        let calls = async {
            let mut tried = Vec::new();
            loop {
                let (node, $client) = $self.next(&tried)?;
                match $call.await {
                    Err(error) if tried.len() + 1 < TRIES && $self.may_go_on(&node, &error) => tried.push(node),
                    answer => return answer,
                }
            }
        };
        match timeout($self.options.deadline, calls).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(Error::with_source(ErrorKind::Timeout, "no node answered in time", elapsed)),
        }
    }};
}

#[async_trait]
impl RunProxy for ClusterClient {
    async fn send_res_data_to_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error> {
        through!(self, node => node.send_res_data_to_user(uid, data))
    }

    async fn send_res_data_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error> {
        through!(self, node => node.send_res_data_to_user_by_tgid(uid, tgid, data))
    }

    async fn send_res_data_to_group(&self, tgid: &Tgid, data: &Value, except: Option<&Uid>) -> Result<Sent, Error> {
        through!(self, node => node.send_res_data_to_group(tgid, data, except))
    }

    async fn send_msg_to_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error> {
        through!(self, node => node.send_msg_to_user(uid, message.clone()))
    }

    async fn send_msg_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error> {
        through!(self, node => node.send_msg_to_user_by_tgid(uid, tgid, message.clone()))
    }

    async fn send_msg_to_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error> {
        through!(self, node => node.send_msg_to_group(tgid, message.clone(), except))
    }

    async fn stop_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        through!(self, node => node.stop_user_client(uid, reason))
    }

    async fn join_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        through!(self, node => node.join_group(uid, tgid))
    }

    async fn leave_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        through!(self, node => node.leave_group(uid, tgid))
    }

    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, Error> {
        through!(self, node => node.enqueue(entries.clone()))
    }
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClusterClient").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}
