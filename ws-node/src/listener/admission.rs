//! How many connections a node takes, in all, per address and per second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::LimitsSection;
use crate::embed::Refusal;

/// Connections over the bound that may still be told so.
const TOLD: usize = 256;
/// Descriptors kept for those, for listeners, logs and calls.
const RESERVE: u64 = TOLD as u64 + 512;

/// See the module.
pub(crate) struct Admission(Arc<State>);

struct State {
    connections: usize,
    per_ip: u32,
    per_second: u32,
    held: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, u32>>,
    /// The second in the upper half, the logins in it in the lower.
    logins: AtomicU64,
}

/// A place for one connection, free again when dropped.
pub(crate) struct Permit {
    state: Arc<State>,
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
        Self(Arc::new(State {
            connections,
            per_ip: limits.connections_per_ip,
            per_second: limits.logins_per_second,
            held: AtomicUsize::new(0),
            by_ip: Mutex::default(),
            logins: AtomicU64::new(0),
        }))
    }

    /// The bound of connections in force.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections
    }

    /// Connections held now, sessions and others.
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Acquire)
    }

    /// Takes a place. `None`: there are so many that not even a refusal is written.
    pub(crate) fn permit(&self, ip: IpAddr) -> Option<Permit> {
        let state = &self.0;
        let before = state.held.fetch_add(1, Ordering::AcqRel);
        let mut permit = Permit { state: Arc::clone(state), ip: None, refused: None };
        if before >= state.connections + TOLD {
            return None;
        }
        if before >= state.connections {
            permit.refused = Some(Full::Node);
        } else if state.per_ip > 0 {
            permit.ip = Some(ip);
            let mut by_ip = state.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_ip.entry(ip).or_insert(0);
            *count += 1;
            permit.refused = (*count > state.per_ip).then_some(Full::Address);
        }
        Some(permit)
    }

    /// Counts a login of this second.
    ///
    /// # Errors
    /// It is one too many.
    pub(crate) fn login(&self, now_ms: u64) -> Result<(), Refusal> {
        let most = self.0.per_second;
        if most == 0 {
            return Ok(());
        }
        let second = (now_ms / 1_000) & 0xffff_ffff;
        let counted = self.0.logins.update(Ordering::AcqRel, Ordering::Acquire, |logins| {
            if logins >> 32 == second { logins + 1 } else { (second << 32) | 1 }
        });
        let before = if counted >> 32 == second { counted & 0xffff_ffff } else { 0 };
        if before >= u64::from(most) {
            return Err(Refusal::unavailable("too many logins in this second", 1));
        }
        Ok(())
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
            let mut by_ip = self.state.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
        self.state.held.fetch_sub(1, Ordering::AcqRel);
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
