//! Who lives in a cluster, and when what is missing in Redis counts: many nodes and a worker in one process, each with a
//! lease, a membership and a directory of its own, over real servers.

mod emptied;
mod frozen;
mod hints;
mod kinds;
mod living;
mod strangers;
mod sweep;
mod world;
