//! Sends from other services into a cluster: through whichever node answers, found in etcd.
//!
//! Owns the choice of the node. The node that is asked routes: to its own users directly, to others by their node. A
//! call is given to another node only while it certainly had no effect. Never speaks to Redis.

mod attempt;
mod choice;
mod send;

use std::fmt;
use std::sync::Arc;

use gim_proto::{Keys, NodeId};

use self::attempt::Search;
use self::choice::Choice;
use crate::etcd::{EtcdOptions, Watcher};
use crate::{ClientOptions, Error, ErrorKind, NodeClient};

/// Sends into a cluster. Clones share connections and the view of who is there.
///
/// Implements [`RunProxy`](crate::RunProxy). Every call has one deadline ([`ClientOptions::deadline`], 2 s unless set)
/// over all nodes tried, three at most. A node that cannot be reached, does not shake hands within
/// [`ClientOptions::connect_timeout`], or says itself that it takes nothing now is passed over. A call that ends with
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
    /// Kind `Invalid`: prefix or endpoints are none, or the token cannot be sent. Kind `Unavailable`: etcd does not answer within the deadline.
    pub async fn connect(etcd: &EtcdOptions, prefix: &str, options: ClientOptions) -> Result<Self, Error> {
        let keys = Keys::new(prefix).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        etcd.check().map_err(|error| Error::with_source(ErrorKind::Invalid, error.to_string(), error))?;
        // What no node could be called with is told now.
        NodeClient::lazy("localhost:1", options.clone())?;
        let watcher = Watcher::start(etcd, &keys);
        if watcher.first(options.deadline).await.is_none() {
            let endpoints: Vec<&str> = etcd.endpoints().collect();
            let detail = format!("etcd does not answer at {}", endpoints.join(", "));
            return Err(Error::new(ErrorKind::Unavailable, detail));
        }
        Ok(Self { watcher, choice: Arc::new(Choice::anywhere()), options })
    }

    /// Names the nodes registered now. While etcd is away, those that it told last.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.watcher.snapshot().nodes().keys().cloned().collect()
    }

    /// Finds a node that answers at this moment, each in turn. For calls that [`RunProxy`](crate::RunProxy) has not.
    ///
    /// # Errors
    /// Kind `Unavailable`: no node is registered, or none of three answers within the deadline.
    pub async fn any(&self) -> Result<NodeClient, Error> {
        let mut search = Search::anew(self.options.deadline);
        Ok(self.find(&mut search).await?.client)
    }

    /// Finds the node of this name, whether it answers or not.
    ///
    /// # Errors
    /// Kind `Invalid`: it is not registered, or not with an address.
    pub fn node(&self, id: &NodeId) -> Result<NodeClient, Error> {
        let chosen = self.choice.named(&self.watcher.snapshot(), id, &self.options);
        let unknown = || Error::new(ErrorKind::Invalid, format!("no node {id} is registered"));
        chosen.map(|chosen| chosen.client).ok_or_else(unknown)
    }
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClusterClient").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}
