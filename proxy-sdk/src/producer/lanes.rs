//! How many lanes the queue has.
//!
//! Owns the number in use and when it is looked up again. A look-up that fails changes nothing: the number stays.

use std::num::NonZeroU16;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::cmd;
use gim_proto::Keys;
use tokio::time::{Instant, timeout_at};

use crate::queue::MAX_LANES;
use crate::store::{Link, Store, StoreError, StoreErrorKind};
use crate::{Error, ErrorKind};

/// A number older than this is looked up before it is used.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Lanes {
    current: Mutex<(NonZeroU16, Instant)>,
    /// None: it never changes.
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    link: Link,
    key: String,
}

impl Lanes {
    /// Takes a number that does not change while this process runs.
    pub(super) fn fixed(number: NonZeroU16) -> Self {
        Self { current: Mutex::new((number, Instant::now())), source: None }
    }

    /// Reads the number that the nodes agreed on; `given` stands in for it where there is none yet.
    pub(super) async fn read(store: &Store, keys: &Keys, given: Option<NonZeroU16>) -> Result<Self, Error> {
        let source = Source { link: store.link(keys.meta()), key: keys.meta() };
        let number = match (source.look_up().await?, given) {
            (Some(found), Some(given)) if found != given => {
                let detail = format!("the queue has {found} lanes, not {given}");
                return Err(Error::new(ErrorKind::Invalid, detail));
            }
            (Some(number), _) | (None, Some(number)) => number,
            (None, None) => return Err(Error::new(ErrorKind::Unavailable, "no node has ever started here")),
        };
        Ok(Self { current: Mutex::new((number, Instant::now())), source: Some(source) })
    }

    /// Tells the number. Looks it up if it is old, at most until `end`; one caller does, the others use the old one.
    pub(super) async fn number(&self, end: Instant) -> NonZeroU16 {
        let (number, is_old) = self.take_note();
        let Some(source) = self.source.as_ref().filter(|_| is_old) else { return number };
        match timeout_at(end, source.look_up()).await {
            Ok(Ok(Some(found))) if found != number => {
                tracing::warn!(before = number, now = found, "the number of lanes has changed");
                self.current.lock().unwrap_or_else(PoisonError::into_inner).0 = found;
                found
            }
            _ => number,
        }
    }

    fn take_note(&self) -> (NonZeroU16, bool) {
        let now = Instant::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = now.saturating_duration_since(current.1) >= FRESH;
        if is_old {
            current.1 = now;
        }
        (current.0, is_old)
    }
}

impl Source {
    async fn look_up(&self) -> Result<Option<NonZeroU16>, StoreError> {
        let found: Option<u16> = self.link.query(cmd("HGET").arg(&self.key).arg("lanes")).await?;
        match found.map(NonZeroU16::new) {
            None => Ok(None),
            Some(Some(number)) if number.get() <= MAX_LANES => Ok(Some(number)),
            Some(_) => Err(StoreError { kind: StoreErrorKind::Corrupt, code: None, source: None }),
        }
    }
}
