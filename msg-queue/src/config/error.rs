//! Why a configuration is refused.
//!
//! Owns the words an operator reads: the key, what is allowed and where the value was set. Never holds the value of
//! a secret, and never a value whose type is wrong: it may be a secret in the wrong place.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere; it is the default.
    #[default]
    Default,
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
    /// By this flag, as in `--set session.ping`.
    Flag(String),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// There is no such key.
    UnknownKey {
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// The value has a form that the key does not allow.
    Value,
    /// The value has the right form but makes no sense, alone or together with another.
    Senseless,
    /// The file cannot be read.
    File,
    /// The file is not TOML.
    Syntax {
        /// Line of the first mistake, from 1.
        line: usize,
    },
    /// A flag is malformed.
    Usage,
}

/// A configuration that is refused, at start, with exit code 64.
#[derive(Debug)]
pub struct ConfigError {
    /// What is wrong.
    pub kind: ConfigErrorKind,
    /// The dotted key, such as `session.ping`; empty when it is not about one key.
    pub key: String,
    /// What is allowed, as a sentence without its subject.
    pub allowed: String,
    /// Where it was set.
    pub origin: Origin,
    pub(super) source: Option<io::Error>,
}

impl ConfigError {
    /// Makes the error of a value that is not allowed.
    pub(super) fn value(key: impl Into<String>, allowed: impl Into<String>, origin: Origin) -> Self {
        Self::new(ConfigErrorKind::Value, key, allowed, origin)
    }

    /// Makes the error of a malformed command line; `allowed` says what is wrong with it.
    #[must_use]
    pub fn usage(allowed: impl Into<String>) -> Self {
        Self::new(ConfigErrorKind::Usage, "", allowed, Origin::Default)
    }

    pub(super) fn new(
        kind: ConfigErrorKind,
        key: impl Into<String>,
        allowed: impl Into<String>,
        origin: Origin,
    ) -> Self {
        Self { kind, key: key.into(), allowed: allowed.into(), origin, source: None }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.allowed)?;
        match (&self.kind, &self.origin) {
            (ConfigErrorKind::Usage, _) => Ok(()),
            (ConfigErrorKind::File | ConfigErrorKind::Syntax { .. }, Origin::File(path)) => {
                write!(f, ": {}", path.display())
            }
            (_, origin) => write!(f, " ({origin})"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "set in file {}", path.display()),
            Self::Environment(name) => write!(f, "set in environment variable {name}"),
            Self::Flag(flag) => write!(f, "set by flag {flag}"),
        }
    }
}
