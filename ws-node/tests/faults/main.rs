//! What mode `redis` promises while processes die, stand still and come back: the real program against a real
//! redis-server of its own for each test. Also what mode `local` promises of what it has on disk ([`kept`]).
//!
//! The oracle stands outside of both: what `XADD` accepted, numbered per target, against what each client saw.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that meets the unexpected fails loudly, and the oracle tells its counts"
)]

mod support;

mod churn;
mod claims;
mod dropped;
mod emptied;
mod frozen;
mod kept;
mod killed;
mod mailboxes;
mod memory;
mod places;
mod restarted;
mod stalled;
