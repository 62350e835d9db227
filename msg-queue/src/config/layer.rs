//! The three places a value can be set in, each turned into the same list of settings.
//!
//! Owns the spelling of a key in each place. Refuses an unknown key at once, where its place is still known.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use figment::value::{Dict, Value};

use super::error::{ConfigError, ConfigErrorKind, Origin};
use super::schema::{Named, Schema, join, section};

const PREFIX: &str = "GIM_";

/// One value set in one place.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Reads the settings of a TOML file.
pub(super) fn file(path: &Path, schema: &Schema) -> Result<Vec<Setting>, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let text = fs::read_to_string(path).map_err(|source| ConfigError {
        source: Some(source),
        ..ConfigError::new(ConfigErrorKind::File, "", "the file cannot be read", origin.clone())
    })?;
    let mut settings = Vec::new();
    walk(parse(&text, &origin)?, "", schema, &origin, &mut settings)?;
    Ok(settings)
}

/// Reads the settings of an environment. Variables of others are passed over.
pub(super) fn environment(variables: &[(OsString, OsString)], schema: &Schema) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (name, text) in variables {
        let Some((name, key)) = name.to_str().and_then(|name| Some((name, key_of(name)?))) else {
            continue;
        };
        if matches!(schema.named(&key), Named::Unknown) && injected(name) {
            continue;
        }
        let origin = Origin::Environment(name.to_owned());
        let Some(text) = text.to_str() else {
            return Err(ConfigError::value(key, "must be UTF-8", origin));
        };
        settings.extend(schema.read(&key, text, &origin)?.map(|value| Setting { key, value, origin }));
    }
    Ok(settings)
}

/// Reads the setting that a flag makes. None: it is another program's.
pub(super) fn flag(flag: &str, key: &str, text: &str, schema: &Schema) -> Result<Option<Setting>, ConfigError> {
    let origin = Origin::Flag(flag.to_owned());
    Ok(schema.read(key, text, &origin)?.map(|value| Setting { key: key.to_owned(), value, origin }))
}

fn parse(text: &str, origin: &Origin) -> Result<Dict, ConfigError> {
    // The error's own text quotes the line it is about, which may hold a secret.
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let what = format!("the file is not TOML at line {line}");
        ConfigError::new(ConfigErrorKind::Syntax { line }, "", what, origin.clone())
    })
}

fn walk(dict: Dict, prefix: &str, schema: &Schema, origin: &Origin, out: &mut Vec<Setting>) -> Result<(), ConfigError> {
    for (name, value) in dict {
        let key = join(prefix, &name);
        match (schema.named(&key), value) {
            (Named::Leaf(_), value) => out.push(Setting { key, value, origin: origin.clone() }),
            (Named::Section, Value::Dict(_, inner)) => walk(inner, &key, schema, origin, out)?,
            (Named::Others, _) => {}
            (Named::Section, _) => return Err(section(&key, origin.clone())),
            (Named::Unknown, value) => {
                return Err(schema.unknown(&deepest(key, &value), origin.clone()));
            }
        }
    }
    Ok(())
}

/// Follows an unknown section to its first key, which tells more about what was meant.
fn deepest(key: String, value: &Value) -> String {
    match value.as_dict().and_then(|inner| inner.first_key_value()) {
        Some((name, value)) => deepest(join(&key, name), value),
        None => key,
    }
}

/// Returns the dotted key that a variable sets, if it is one of ours.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    let dotted = rest.replace("__", ".");
    // Another spelling stays as it is, and so is refused: it would set the same key twice.
    let shouted = !rest.contains(|c: char| c.is_ascii_lowercase());
    Some(if shouted { dotted.to_ascii_lowercase() } else { dotted })
}

/// Tells whether Kubernetes sets the variable for a service whose name begins with `gim`.
fn injected(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let own = rest.starts_with("SERVICE_") || rest.starts_with("PORT");
    own || rest.contains("_SERVICE_") || rest.contains("_PORT")
}
