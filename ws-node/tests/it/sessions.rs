//! The life of a session: who owns a uid, which groups it is in, what a slow or failing one costs the others.

mod callbacks;
mod durable;
mod fates;
mod groups;
mod heartbeat;
mod order;
mod ownership;
mod presence;
mod resume;
mod slow;
mod stale;
