//! Section `log`: where log lines go and which.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::invalid::{Invalid, within};

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Where lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines: a level, or directives such as `info,gim_ws_node=debug`.
    pub level: String,
    /// Folder of the log files; made if missing. Only for the target `file`.
    pub directory: PathBuf,
    /// First part of a log file's name. Only for the target `file`.
    pub file_prefix: String,
    /// When a new file begins. Only for the target `file`.
    pub rotation: LogRotation,
    /// Files kept, 1 to 10,000. Beyond it the oldest is removed. Only for the target `file`.
    pub keep_files: usize,
    /// Lines waiting to be written. Beyond it lines are dropped and counted; nothing ever waits for the log.
    pub buffer_lines: usize,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Console,
    /// Files in `log.directory`.
    File,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// When a new log file begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRotation {
    /// At midnight, UTC.
    #[default]
    Daily,
    /// On the hour.
    Hourly,
    /// Never; the one file grows.
    Never,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            target: LogTarget::default(),
            format: LogFormat::default(),
            level: "info".to_owned(),
            directory: PathBuf::from("log"),
            file_prefix: "gim".to_owned(),
            rotation: LogRotation::default(),
            keep_files: 7,
            buffer_lines: 128_000,
        }
    }
}

impl LogSection {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Names the first value out of bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        if EnvFilter::try_new(&self.level).is_err() {
            return Err(Invalid::new(
                "log.level",
                "must be a level (off, error, warn, info, debug, trace) or directives such as \"info,gim_ws_node=debug\"",
            ));
        }
        if self.file_prefix.is_empty() || self.file_prefix.contains(['/', '\\']) {
            return Err(Invalid::new("log.file_prefix", "must be a part of a file name, without a slash"));
        }
        if self.directory.as_os_str().is_empty() {
            return Err(Invalid::new("log.directory", "must name a folder; \".\" is the current one"));
        }
        within("log.keep_files", self.keep_files, 1..=10_000)?;
        within("log.buffer_lines", self.buffer_lines, 1..=10_000_000)
    }
}
