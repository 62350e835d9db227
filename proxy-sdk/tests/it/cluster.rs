//! `ClusterClient` against nodes that are registered in a real etcd: whom it asks, and whom it does not ask again.

mod registered;
mod taken;
pub(crate) mod world;
