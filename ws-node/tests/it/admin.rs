//! The admin listener: what operators and backends ask.

mod calls;
mod door;
mod figures;
mod ledger;
mod memberships;
mod probes;
mod queue;
mod users;
