//! Who is registered in etcd, and what becomes of that when etcd is restarted, emptied, frozen, or wants to know who asks.

mod members;
mod outages;
mod registrar;
mod security;
mod watcher;
mod world;
