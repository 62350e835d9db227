//! Doors to parts of the hub and the outbox, for the benches of this crate alone: no application should count on them.
//!
//! Owns no behaviour: what is measured is what the node does.

pub use crate::hub::measure::Fan;
pub use crate::session::outbox::measure::Waiter;
