//! How Redis is reached: standalone, behind Sentinel, or as a cluster; in the clear or by TLS.
//!
//! Owns addresses, credentials, deadlines and what an error means. Every call is about keys of one slot, so a connection
//! is always one to the master that holds a given key: [`Store::connect`] for readers that block, [`Link`] for calls
//! that share one, [`Pool`] for calls that want one for a while, [`wire`] for a reader that is never without work.
//! Never knows what the keys mean.

mod address;
mod connect;
mod fault;
mod fred;
mod keys;
mod link;
mod losses;
mod options;
mod pool;
mod runs;
mod spread;
pub mod wire;

use std::sync::Arc;

pub use self::address::{Address, Topology};
pub use self::connect::Home;
pub(crate) use self::connect::Range;
pub use self::fault::{CrowdedCalls, StoreError, StoreErrorKind};
pub use self::fred::fred_client;
pub use self::keys::KeyReader;
pub use self::link::Link;
pub use self::losses::{LaneBehind, Losses, PossibleLoss};
pub use self::options::{OptionsError, RedisOptions, TlsFiles};
pub use self::pool::Pool;
pub use self::runs::{RunReader, Runs};
pub use self::spread::{Server, Spread};

/// A Redis of any kind. Cheap to clone; opens nothing until it is asked.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: RedisOptions,
    losses: Losses,
}

impl Store {
    /// Takes note of where Redis is.
    #[must_use]
    pub fn new(options: RedisOptions) -> Self {
        Self(Arc::new(Shared { options, losses: Losses::default() }))
    }

    /// Tells where it is.
    #[must_use]
    pub fn options(&self) -> &RedisOptions {
        &self.0.options
    }

    /// Tells what it may have lost, as far as this handle and its clones have noticed.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.0.losses
    }
}
