//! Which keys exist, read off the defaults.
//!
//! Owns the list of known keys and the shape of each value, so that a text from the environment or a flag becomes
//! what its key asks for: `GIM_NODE__ID=123` stays text, `GIM_QUEUE__LANES=4` becomes a number. Never checks bounds.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use serde::Serialize;

use super::error::{ConfigError, ConfigErrorKind, Origin};

/// The keys of one configuration type.
pub(super) struct Schema {
    leaves: BTreeMap<String, Value>,
    /// Keys and sections of other programs.
    others: &'static [&'static str],
}

/// What a dotted key names.
pub(super) enum Named<'a> {
    /// A value; its default.
    Leaf(&'a Value),
    /// A table of values.
    Section,
    /// What another program reads.
    Others,
    /// Nothing.
    Unknown,
}

impl Schema {
    /// Reads the keys off the default of `T`.
    pub(super) fn of<T: Serialize + Default>(others: &'static [&'static str]) -> Result<Self, ConfigError> {
        let whole = Value::serialize(T::default())
            .map_err(|error| ConfigError::value("", format!("defaults cannot be written: {error}"), Origin::Default))?;
        let mut leaves = BTreeMap::new();
        if let Some(dict) = whole.into_dict() {
            flatten(dict, "", &mut leaves);
        }
        Ok(Self { leaves, others })
    }

    pub(super) fn named(&self, key: &str) -> Named<'_> {
        if self.others.iter().any(|other| is_within(key, other)) {
            return Named::Others;
        }
        if let Some(default) = self.leaves.get(key) {
            return Named::Leaf(default);
        }
        let section = format!("{key}.");
        match self.leaves.keys().any(|known| known.starts_with(&section)) {
            true => Named::Section,
            false => Named::Unknown,
        }
    }

    /// Makes of a text what `key` asks for. None: it is another program's.
    pub(super) fn read(&self, key: &str, text: &str, origin: &Origin) -> Result<Option<Value>, ConfigError> {
        match self.named(key) {
            Named::Leaf(default) => Ok(Some(shape(default, text))),
            Named::Others => Ok(None),
            Named::Section => Err(section(key, origin.clone())),
            Named::Unknown => Err(self.unknown(key, origin.clone())),
        }
    }

    /// Refuses a key that does not exist.
    pub(super) fn unknown(&self, key: &str, origin: Origin) -> ConfigError {
        let nearest = self.nearest(key);
        let allowed = match &nearest {
            Some(nearest) => format!("no such key; did you mean {nearest}?"),
            None => format!("no such key; known are {}", self.around(key).join(", ")),
        };
        ConfigError::new(ConfigErrorKind::UnknownKey { nearest }, key, allowed, origin)
    }

    /// Returns the keys of the section that `key` would be in, or the sections if there is none.
    fn around(&self, key: &str) -> Vec<&str> {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let inside = self.leaves.keys().filter(|known| {
            known.strip_prefix(section).is_some_and(|rest| !section.is_empty() && rest.starts_with('.'))
        });
        let inside: Vec<_> = inside.map(String::as_str).collect();
        if !inside.is_empty() {
            return inside;
        }
        let mut tops: Vec<_> = self.leaves.keys().filter_map(|known| known.split('.').next()).collect();
        tops.dedup();
        tops
    }

    fn nearest(&self, key: &str) -> Option<String> {
        let key = key.to_ascii_lowercase();
        let closest = self.leaves.keys().map(|known| (distance(known, &key), known)).min()?;
        let near = closest.0 <= (closest.1.len() / 4).max(2);
        near.then(|| closest.1.clone())
    }
}

/// Refuses a value where a table of values is asked for.
pub(super) fn section(key: &str, origin: Origin) -> ConfigError {
    ConfigError::value(key, "is a section and holds keys, not a value", origin)
}

fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn flatten(dict: Dict, prefix: &str, leaves: &mut BTreeMap<String, Value>) {
    for (name, value) in dict {
        let key = join(prefix, &name);
        match value {
            Value::Dict(_, inner) => flatten(inner, &key, leaves),
            leaf => {
                leaves.insert(key, leaf);
            }
        }
    }
}

/// Appends a name to a dotted key.
pub(super) fn join(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    }
}

/// Edits between two keys. The right name in the wrong section, or in none, counts as one.
fn distance(known: &str, key: &str) -> usize {
    let [known_name, name] = [known, key].map(|key| key.rsplit('.').next().unwrap_or(key));
    let moved = 1 + strsim::osa_distance(known_name, name);
    strsim::osa_distance(known, key).min(moved)
}

/// Makes of a text a value like `default`. What cannot be made stays text and is refused where it is read.
fn shape(default: &Value, text: &str) -> Value {
    let plain = || Value::from(text);
    match default {
        Value::Bool(..) => text.trim().parse::<bool>().map_or_else(|_| plain(), Value::from),
        Value::Num(..) => number(text).unwrap_or_else(plain),
        Value::Array(_, items) => {
            let items = items.first();
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::from(
                parts.map(|part| items.map_or_else(|| Value::from(part), |item| shape(item, part))).collect::<Vec<_>>(),
            )
        }
        _ => plain(),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.trim().replace('_', "");
    let whole = digits.parse::<i64>().map(Value::from);
    let large = |_| digits.parse::<u64>().map(Value::from);
    let broken = |_| digits.parse::<f64>().map(Value::from);
    whole.or_else(large).or_else(broken).ok()
}
