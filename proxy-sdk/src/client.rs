//! Calls to one node at a fixed address, over gRPC.
//!
//! Owns what every call has: a deadline, its share of a bound on what is in flight, a handshake before it. Connecting
//! again is the channel's; a failed call is never repeated here, because only the caller knows whether it may be.

mod address;
mod between;
mod call;
mod look;
mod operate;
mod options;
mod send;
mod status;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
pub use look::{Followed, Happening};
pub use operate::{DeadLetters, Drained, Hello};
pub use options::ClientOptions;
pub use send::UserState;

pub(crate) use address::Address;
use call::Calls;
pub(crate) use status::{had_no_effect, never_reached};

/// The RPC versions this client speaks, lowest and highest.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;

/// Sends through one node, whose address is given. Clones share one connection.
///
/// Implements [`RunProxy`](crate::RunProxy); the other methods are what operators ask of a node. Every call ends within
/// its deadline, see [`ClientOptions`]. A call waits within that deadline while too much is in flight; if it never comes
/// to its turn, the error is of kind [`Full`](crate::ErrorKind::Full) and the call had no effect. A call whose answer
/// is lost, by its deadline or with the connection, may have had one.
#[derive(Clone)]
pub struct NodeClient {
    calls: Arc<Calls>,
}

impl NodeClient {
    /// Makes a client that connects at its first call. Must be called within a tokio runtime.
    ///
    /// `address` is `http://host:port` or `host:port` of the node's RPC listener.
    ///
    /// # Errors
    /// Kind `Invalid`: the address is none of these, or the token cannot be sent.
    pub fn lazy(address: &str, options: ClientOptions) -> Result<Self, Error> {
        Self::at(address.parse()?, options)
    }

    /// Makes a client, connects and shakes hands, so that a wrong address or version shows now.
    ///
    /// # Errors
    /// Those of [`lazy`](Self::lazy) and of [`hello`](Self::hello).
    pub async fn connect(address: &str, options: ClientOptions) -> Result<Self, Error> {
        let client = Self::lazy(address, options)?;
        client.hello().await?;
        Ok(client)
    }

    pub(crate) fn at(address: Address, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { calls: Arc::new(Calls::new(address, options)?) })
    }

    /// Sees to it that the node has answered the handshake, within so much time. It has not had any other call then.
    pub(crate) async fn meet(&self, within: Duration) -> Result<(), Error> {
        self.calls.meet(within).await
    }

    /// Where the node is.
    pub(crate) fn address(&self) -> String {
        self.calls.address().to_string()
    }

    /// Whether both share one connection.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.calls, &other.calls)
    }

    /// Takes nothing for granted any more: the next call shakes hands first.
    pub(crate) fn doubt(&self) {
        self.calls.doubt();
    }
}

impl fmt::Debug for NodeClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NodeClient").field("address", &self.calls.address()).finish_non_exhaustive()
    }
}
