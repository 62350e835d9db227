//! The token that the nodes ask for: from a file, or from the environment that nodes take it from too.
//!
//! Never from an argument: those are shown to everybody on the machine.

use std::path::Path;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// The variable that holds it when no file is named.
pub(super) const VARIABLE: &str = "GIM_RPC__TOKEN";

/// Reads the token. An empty one is none.
pub(super) fn read(file: Option<&Path>) -> Result<Option<Arc<str>>, Error> {
    read_from(file, VARIABLE)
}

/// The same from another variable.
pub(super) fn read_from(file: Option<&Path>, variable: &str) -> Result<Option<Arc<str>>, Error> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Error::with_source(ErrorKind::Invalid, format!("the file {} cannot be read", file.display()), error)
        })?,
        None => std::env::var(variable).unwrap_or_default(),
    };
    let token = text.trim_end_matches(['\r', '\n']);
    Ok((!token.is_empty()).then(|| Arc::from(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_the_token_and_at_most_an_end_of_line() {
        let file = std::env::temp_dir().join(format!("gim-token-{}", std::process::id()));
        for (text, token) in [("secret\n", Some("secret")), ("secret\r\n", Some("secret")), ("\n", None), ("", None)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(Some(&file)).unwrap().as_deref(), token, "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read(Some(&file)).unwrap_err().kind, ErrorKind::Invalid);
    }
}
