//! Configuration: one TOML file, overridden by the environment, overridden by flags.
//!
//! Owns the loader that all binaries share ([`load`]), the types values are written in ([`ByteSize`], [`duration`],
//! [`Secret`]) and the sections that a node and a worker both have. Never reads the process environment by itself,
//! never exits, and never shows the value of a secret.

pub mod address;
mod admin;
pub mod duration;
mod error;
mod etcd;
mod invalid;
mod layer;
mod ledger;
mod local;
mod log;
mod mailbox;
mod mode;
mod node;
pub mod optional;
mod pem;
mod queue;
mod redis;
mod rpc;
mod schema;
mod secret;
mod shutdown;
mod size;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use admin::AdminSection;
pub use error::{ConfigError, ConfigErrorKind, Origin};
pub use etcd::EtcdSection;
pub use invalid::{Invalid, span_within, within};
pub use ledger::LedgerSection;
pub use local::{Fsync, LocalSection};
pub use log::{LogFormat, LogRotation, LogSection, LogTarget};
pub use mailbox::MailboxSection;
pub use mode::{Mode, ModeError};
pub use node::NodeSection;
pub use queue::QueueSection;
pub use redis::RedisSection;
pub use rpc::RpcSection;
pub use secret::Secret;
pub use shutdown::ShutdownSection;
pub use size::{ByteSize, SizeError};
pub use worker::WorkerSection;

use layer::Setting;
use schema::Schema;

/// The places a configuration is read from, the weakest first: file, environment, flags.
#[derive(Clone, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
}

#[derive(Clone)]
struct Flag {
    shown: String,
    key: String,
    text: String,
}

/// A configuration and where each of its values came from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    origins: BTreeMap<String, Origin>,
}

impl Sources {
    /// Starts with no place: only defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this TOML file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads these variables, as of `std::env::vars_os()`. Those without the prefix `GIM_` do not matter.
    #[must_use]
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment.extend(variables);
        self
    }

    /// Takes one `--set key=value`. Of two for one key the later counts.
    ///
    /// # Errors
    /// When there is no `=` in it.
    pub fn set(self, assignment: &str) -> Result<Self, ConfigError> {
        match assignment.split_once('=') {
            Some((key, text)) => {
                let key = key.trim();
                Ok(self.flag(format!("--set {key}"), key, text))
            }
            // What was given instead is not shown: it may be a secret with the wrong sign before it.
            None => Err(ConfigError::usage("--set needs key=value")),
        }
    }

    /// Takes the value that a flag of its own sets, such as `--mode`.
    #[must_use]
    pub fn flag(mut self, shown: impl Into<String>, key: &str, text: &str) -> Self {
        self.flags.push(Flag { shown: shown.into(), key: key.to_owned(), text: text.to_owned() });
        self
    }

    fn settings(&self, schema: &Schema) -> Result<Vec<Setting>, ConfigError> {
        let mut settings = match &self.file {
            Some(path) => layer::file(path, schema)?,
            None => Vec::new(),
        };
        settings.extend(layer::environment(&self.environment, schema)?);
        for flag in &self.flags {
            settings.extend(layer::flag(&flag.shown, &flag.key, &flag.text, schema)?);
        }
        Ok(settings)
    }
}

impl<T> Loaded<T> {
    /// Returns where the value of a dotted key was set.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        origin(&self.origins, key)
    }

    /// Checks the configuration and takes it out.
    ///
    /// # Errors
    /// What `check` finds, with the place it was set in.
    pub fn validated(self, check: impl FnOnce(&T) -> Result<(), Invalid>) -> Result<T, ConfigError> {
        match check(&self.value) {
            Ok(()) => Ok(self.value),
            Err(invalid) => Err(self.refuse(invalid)),
        }
    }

    fn refuse(&self, invalid: Invalid) -> ConfigError {
        // Of two keys that contradict each other, the one that somebody set is to blame.
        let origin = match (self.origin(invalid.key), invalid.against) {
            (Origin::Default, Some(other)) => self.origin(other),
            (origin, _) => origin,
        };
        ConfigError::new(ConfigErrorKind::Senseless, invalid.key, invalid.allowed, origin)
    }
}

/// Reads a configuration: the defaults of `T`, overridden by each source in turn.
///
/// `T` and all its sections need `#[serde(default)]`; their defaults tell which keys exist.
///
/// # Errors
/// The first key that is unknown or holds what it may not, or a file that cannot be read.
pub fn load<T>(sources: &Sources) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    load_beside(sources, &[])
}

/// Reads a configuration that another program shares: as [`load`] does, but `others`, keys and sections that are none of
/// this program's, are passed over wherever they are set, whatever they hold.
///
/// # Errors
/// Those of [`load`].
pub fn load_beside<T>(sources: &Sources, others: &'static [&'static str]) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    let schema = Schema::of::<T>(others)?;
    let mut dict = Dict::new();
    let mut origins = BTreeMap::new();
    for setting in sources.settings(&schema)? {
        insert(&mut dict, &setting.key, setting.value);
        origins.insert(setting.key, setting.origin);
    }
    match Value::from(dict).deserialize() {
        Ok(value) => Ok(Loaded { value, origins }),
        Err(error) => Err(translate(error, &schema, &origins)),
    }
}

/// Writes a configuration as TOML, secrets hidden.
///
/// # Errors
/// When a value has no form in TOML, such as a whole number beyond 2^63.
pub fn print<T: Serialize>(config: &T) -> Result<String, ConfigError> {
    toml::to_string(config)
        .map_err(|error| ConfigError::value("", format!("cannot be written as TOML: {error}"), Origin::Default))
}

fn insert(dict: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            dict.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = dict.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Finds where a key was set; an element of a list was set where its list was.
fn origin(origins: &BTreeMap<String, Origin>, key: &str) -> Origin {
    match (origins.get(key), key.rsplit_once('.')) {
        (Some(origin), _) => origin.clone(),
        (None, Some((outer, _))) => origin(origins, outer),
        (None, None) => Origin::Default,
    }
}

fn translate(error: figment::Error, schema: &Schema, origins: &BTreeMap<String, Origin>) -> ConfigError {
    let key = error.path.join(".");
    let origin = origin(origins, &key);
    let allowed = match error.kind {
        Kind::UnknownField(name, _) => return schema.unknown(&schema::join(&key, &name), origin),
        Kind::Message(text) => text,
        Kind::InvalidType(actual, expected) => {
            format!("must be {}, not {}", plain(&expected), form(&actual))
        }
        Kind::InvalidValue(_, expected) => format!("must be {}", plain(&expected)),
        Kind::UnknownVariant(_, words) => format!("must be one of {}", words.join(", ")),
        _ => "has a value that is not allowed".to_owned(),
    };
    ConfigError::value(key, allowed, origin)
}

/// Says in words what a Rust type asks for.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u16" | "a nonzero u32" => "a whole number, 1 or more",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        word if word.starts_with("enum ") => "one of its words",
        other => other,
    }
}

/// Says of what form a value is, without the value.
fn form(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a broken number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "what was given",
    }
}
