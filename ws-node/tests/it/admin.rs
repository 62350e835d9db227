//! The admin listener: what operators and backends ask.

mod calls;
mod cancelled;
mod door;
mod figures;
mod ledger;
mod memberships;
mod probes;
mod queue;
mod users;
