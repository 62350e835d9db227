//! Redis of every kind: one server, Sentinel, Cluster, TLS, passwords and ACL users.
//!
//! What each kind has to do is the same and written once, in [`ways`]; a module per kind says what is special to it.

mod acl;
mod cluster;
mod contract;
mod sentinel;
mod tls;
mod ways;
