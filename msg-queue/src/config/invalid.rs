//! A value that is well formed but senseless, and the few checks that find one.
//!
//! Owns the words of a refusal: which key, and what is allowed. Never knows where the value was set; the loader adds
//! that, and code that builds a configuration by hand does not need it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;

/// A senseless value: the dotted key of it and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {allowed}")]
pub struct Invalid {
    /// The key, such as `session.ping`.
    pub key: &'static str,
    /// The key it does not go together with, where there is one.
    pub against: Option<&'static str>,
    /// What is allowed, such as `must be at least 1`. Never holds a secret.
    pub allowed: String,
}

impl Invalid {
    /// Refuses the value of `key`.
    #[must_use]
    pub fn new(key: &'static str, allowed: impl Into<String>) -> Self {
        Self { key, against: None, allowed: allowed.into() }
    }

    /// Refuses the value of `key` because of that of `against`.
    #[must_use]
    pub fn against(key: &'static str, against: &'static str, allowed: impl Into<String>) -> Self {
        Self { key, against: Some(against), allowed: allowed.into() }
    }
}

/// Asks a value to lie within bounds, both included.
///
/// # Errors
/// When it does not.
pub fn within<T: PartialOrd + Display>(key: &'static str, value: T, bounds: RangeInclusive<T>) -> Result<(), Invalid> {
    if bounds.contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("must be from {} to {}, not {value}", bounds.start(), bounds.end())))
}

/// Asks a span to lie within bounds, both included.
///
/// # Errors
/// When it does not.
pub fn span_within(key: &'static str, span: Duration, bounds: RangeInclusive<Duration>) -> Result<(), Invalid> {
    if bounds.contains(&span) {
        return Ok(());
    }
    let [least, most, given] = [*bounds.start(), *bounds.end(), span].map(duration::render);
    Err(Invalid::new(key, format!("must be from {least} to {most}, not {given}")))
}
