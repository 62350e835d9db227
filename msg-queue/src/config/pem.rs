//! Files that a configuration names, read when what needs them is built.

use std::path::PathBuf;

use super::invalid::Invalid;

/// Reads the file that a key names, if it names one.
pub(super) fn read(key: &'static str, path: &Option<PathBuf>) -> Result<Option<Vec<u8>>, Invalid> {
    let read = path.as_deref().map(std::fs::read).transpose();
    read.map_err(|error| Invalid::new(key, format!("names a file that cannot be read: {error}")))
}
