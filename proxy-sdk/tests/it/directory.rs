//! The directory: what every adapter promises, and what is particular to the one in Redis.

mod claims;
mod contract;
mod durable;
mod faults;
mod kinds;
mod lookups;
mod model;
mod opened;
mod presence;
mod reassert;
mod sweep;
mod wire;
pub(crate) mod world;
