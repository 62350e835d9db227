//! The HTTP surfaces: what anybody may ask on the public listener, what operators and backends ask on the admin one.
//!
//! Owns paths, status codes and JSON shapes. Behaviour is the core's; nothing here knows a socket.

mod admin;
mod dead;
mod extract;
mod groups;
mod ledger;
mod messages;
mod nodes;
mod public;
mod sysinfo;
mod users;

pub(crate) use self::admin::router as admin_router;
pub(crate) use self::public::router as public_router;
pub(crate) use self::sysinfo::{alone as sysinfo_alone, sysinfo};
pub(crate) use self::users::MOST_USERS;
