//! Small numbers for sessions, so that fan-out can use tables instead of maps.

use std::sync::{Mutex, PoisonError};

/// Gives out the lowest numbers that are free, about.
#[derive(Default)]
pub(crate) struct Slots(Mutex<State>);

#[derive(Default)]
struct State {
    free: Vec<u32>,
    next: u32,
}

impl Slots {
    pub(crate) fn take(&self) -> u32 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = state.free.pop() {
            return slot;
        }
        let slot = state.next;
        state.next += 1;
        slot
    }

    /// Called once per slot taken, after its session is gone from every table.
    pub(crate) fn give_back(&self, slot: u32) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.free.push(slot);
    }
}
