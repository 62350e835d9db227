//! Section `ledger`: what is written down about messages and users, and for how long.

use std::time::Duration;

use gim_proxy_sdk::ledger::LedgerBounds;
use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within, within};

/// Receipts, journeys and presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerSection {
    /// Receipts kept. At the bound the oldest go.
    pub receipts: u64,
    /// Whether it is written down who comes and goes. Costs two more steps per login and end.
    pub presence: bool,
    /// News of who came and went that are kept. At the bound the oldest go.
    pub presence_entries: u64,
    /// Steps kept of one message's journey. At the bound later ones are dropped, counted.
    pub hops: usize,
    /// How long a journey is kept after its last step.
    #[serde(with = "duration")]
    pub journey: Duration,
}

impl Default for LedgerSection {
    fn default() -> Self {
        let LedgerBounds { receipts, presence, hops, journey } = LedgerBounds::default();
        Self { receipts, presence: false, presence_entries: presence, hops, journey }
    }
}

impl LedgerSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("ledger.receipts", self.receipts, 1..=1_000_000_000)?;
        within("ledger.presence_entries", self.presence_entries, 1..=1_000_000_000)?;
        within("ledger.hops", self.hops, 1..=100_000)?;
        span_within("ledger.journey", self.journey, Duration::from_secs(1)..=Duration::from_hours(24 * 30))
    }

    /// Tells the bounds.
    #[must_use]
    pub fn bounds(&self) -> LedgerBounds {
        let Self { receipts, presence_entries, hops, journey, .. } = self;
        LedgerBounds { receipts: *receipts, presence: *presence_entries, hops: *hops, journey: *journey }
    }
}
