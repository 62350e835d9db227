//! Section `local`: where a service that is one process keeps what must outlive it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::invalid::{Invalid, span_within};

/// The store of mode `local`. Other modes do not look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSection {
    /// Its folder, made if missing. Empty or `none`: everything is in memory and lost with the process.
    pub path: String,
    /// When what is written is made to reach the disk.
    pub fsync: Fsync,
    /// How often, with `fsync = "interval"`.
    #[serde(with = "duration")]
    pub fsync_interval: Duration,
}

/// When what is written is made to reach the disk. The end of the process, however it comes, loses nothing with any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before anybody is answered. The end of the machine loses nothing.
    #[default]
    Always,
    /// At intervals. The end of the machine loses the last one.
    Interval,
    /// When the system sees fit. The end of the machine loses what it had not written, half a minute as a rule.
    Never,
}

impl Default for LocalSection {
    fn default() -> Self {
        Self { path: "gim-data".to_owned(), fsync: Fsync::default(), fsync_interval: Duration::from_secs(1) }
    }
}

impl LocalSection {
    /// Makes one that keeps nothing.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { path: String::new(), ..Self::default() }
    }

    /// Names the folder. None: nothing is kept.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        let is_none = self.path.is_empty() || self.path == "none";
        (!is_none).then(|| Path::new(&self.path))
    }

    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        span_within("local.fsync_interval", self.fsync_interval, Duration::from_millis(10)..=Duration::from_mins(1))
    }
}
