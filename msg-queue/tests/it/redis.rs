//! A lane in a real Redis.

mod anew;
mod aside;
mod cancel;
mod dead;
mod faults;
mod kinds;
mod outage;
mod ownership;
mod reading;
pub(crate) mod rig;
mod settling;
mod takeover;
mod waking;
mod worker;
