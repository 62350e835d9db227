//! Where nodes are, as etcd tells: every node registers itself, whoever calls nodes watches.
//!
//! Owns the key that a node keeps there under a lease ([`Registrar`]) and the list of all of them ([`Watcher`]). Says
//! where nodes are and wakes everybody when one comes or goes. Never says that a node is dead: an outage of etcd leaves
//! the last [`Snapshot`] standing, and who lives is decided in Redis. Wants etcd 3.4 or later.

mod backoff;
mod fault;
mod options;
mod registrar;
mod registration;
mod snapshot;
mod watcher;
mod way;

pub use self::fault::{EtcdError, EtcdErrorKind};
pub use self::options::EtcdOptions;
pub use self::registrar::{Registrar, RegistrarState, RegistrarStats};
pub use self::registration::Registration;
pub use self::snapshot::Snapshot;
pub use self::watcher::{Watcher, WatcherStats};
