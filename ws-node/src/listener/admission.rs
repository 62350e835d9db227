//! How many connections a node takes, in all and per address, and how many logins per second and at once.
//!
//! Owns what each connection has taken of these, and when those who are refused should come back.

mod bucket;
mod pace;
mod returns;
mod turns;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use self::turns::Turns;
pub(crate) use self::turns::{LoginFigures, PutOff, Turn};
use crate::config::LimitsSection;
use crate::embed::Refusal;

/// Connections over the bound that may still be told so.
const TOLD: usize = 256;
/// Descriptors kept for those, for listeners, logs and calls.
const RESERVE: u64 = TOLD as u64 + 512;

/// See the module.
pub(crate) struct Admission {
    places: Arc<Places>,
    turns: Arc<Turns>,
}

struct Places {
    connections: usize,
    per_ip: u32,
    held: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, u32>>,
}

/// A place for one connection, free again when dropped.
pub(crate) struct Permit {
    places: Arc<Places>,
    ip: Option<IpAddr>,
    refused: Option<Full>,
}

#[derive(Clone, Copy)]
enum Full {
    Node,
    Address,
}

impl Admission {
    pub(crate) fn new(limits: &LimitsSection) -> Self {
        let connections = if limits.connections > 0 { limits.connections } else { open_file_bound() };
        let places = Places {
            connections,
            per_ip: limits.connections_per_ip,
            held: AtomicUsize::new(0),
            by_ip: Mutex::default(),
        };
        Self { places: Arc::new(places), turns: Arc::new(Turns::new(limits)) }
    }

    /// The bound of connections in force.
    pub(crate) fn connections(&self) -> usize {
        self.places.connections
    }

    /// Connections held now, sessions and others.
    pub(crate) fn held(&self) -> usize {
        self.places.held.load(Ordering::Acquire)
    }

    /// Takes a place. `None`: there are so many that not even a refusal is written.
    pub(crate) fn permit(&self, ip: IpAddr) -> Option<Permit> {
        let places = &self.places;
        let before = places.held.fetch_add(1, Ordering::AcqRel);
        let mut permit = Permit { places: Arc::clone(places), ip: None, refused: None };
        if before >= places.connections + TOLD {
            return None;
        }
        if before >= places.connections {
            permit.refused = Some(Full::Node);
        } else if places.per_ip > 0 {
            permit.ip = Some(ip);
            let mut by_ip = places.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_ip.entry(ip).or_insert(0);
            *count += 1;
            permit.refused = (*count > places.per_ip).then_some(Full::Address);
        }
        Some(permit)
    }

    /// Waits for a login's turn, which lasts until what is returned is dropped.
    ///
    /// # Errors
    /// There are too many, or it does not come before the deadline.
    pub(crate) async fn turn(&self, deadline: Instant) -> Result<Turn, Refusal> {
        let refusal = |why| {
            let message = match why {
                PutOff::Rate => "too many logins in this second",
                PutOff::Crowd => "too many logins wait for their turn",
                PutOff::Late => "too many logins were before this one",
            };
            Refusal::unavailable(message, 1)
        };
        self.turns.take(deadline).await.map_err(refusal)
    }

    /// How many seconds more than others somebody should wait who is told to come back.
    pub(crate) fn place_in_line(&self) -> u64 {
        self.turns.again()
    }

    /// How logins stand.
    pub(crate) fn logins(&self) -> LoginFigures {
        self.turns.figures()
    }
}

impl Permit {
    /// # Errors
    /// The connection was only let in to be told that there is no room.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self.refused {
            None => Ok(()),
            Some(Full::Node) => Err(Refusal::unavailable("the node is full", 5)),
            Some(Full::Address) => Err(Refusal::too_many("too many connections from this address")),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ip) = self.ip {
            let mut by_ip = self.places.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
        self.places.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the process may open, less a reserve.
fn open_file_bound() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let files = limit.current.unwrap_or(1 << 20);
    usize::try_from(files.saturating_sub(RESERVE.min(files / 2))).unwrap_or(usize::MAX / 2)
}

/// Raises the soft limit of open files to the hard one: each connection is a file.
pub(crate) fn raise_open_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
    {
        tracing::warn!(error = %error, "the open-file limit could not be raised");
    }
}
