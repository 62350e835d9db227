//! The Redis that messages are put into: where it is, and how to get in.
//!
//! Owns the rule that a password is no argument: those are shown to everybody on the machine. It comes from a file, or from the
//! variable that nodes and workers take it from too.

use std::path::Path;
use std::sync::Arc;

use super::args::Common;
use super::token;
use crate::{Error, ErrorKind};

/// The variables that hold them when nothing else is said.
const USERNAME: &str = "GIM_REDIS__USERNAME";
const PASSWORD: &str = "GIM_REDIS__PASSWORD";

/// See the module.
pub(super) struct Redis<'a> {
    url: &'a str,
    username: String,
    password: Option<Arc<str>>,
}

impl<'a> Redis<'a> {
    /// The one that the command line names.
    ///
    /// # Errors
    /// The URL holds a password, which is not repeated. Or the file cannot be read.
    pub(super) fn named(url: &'a str, common: &Common) -> Result<Self, Error> {
        let username = common.redis_username.clone().or_else(|| std::env::var(USERNAME).ok());
        Self::new(url, username.unwrap_or_default(), common.redis_password_file.as_deref())
    }

    fn new(url: &'a str, username: String, file: Option<&Path>) -> Result<Self, Error> {
        if url.contains('@') {
            let detail = format!(
                "--redis must hold no user and password, which others on this machine could read: use --redis-username, \
                 and --redis-password-file or {PASSWORD}"
            );
            return Err(Error::new(ErrorKind::Invalid, detail));
        }
        Ok(Self { url, username, password: token::read_from(file, PASSWORD)? })
    }

    /// Whether it is one server, that anybody can talk to without a library of ours.
    pub(super) fn is_single(&self) -> bool {
        self.url.starts_with("redis://")
    }

    /// All of it, as clients take it. Secret.
    pub(super) fn url(&self) -> String {
        match (&self.password, self.url.split_once("://")) {
            (Some(password), Some((scheme, rest))) => {
                format!("{scheme}://{}:{}@{rest}", encoded(&self.username), encoded(password))
            }
            _ => self.url.to_owned(),
        }
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RedisOptions;

    #[test]
    fn a_password_comes_from_a_file_and_reaches_whoever_connects() {
        let file = std::env::temp_dir().join(format!("gim-redis-password-{}", std::process::id()));
        for password in ["plain", "p@ss:w/rd, %41\u{e9}"] {
            std::fs::write(&file, format!("{password}\n")).unwrap();
            for (url, username) in [("redis://a:1/2", "me@home"), ("redis-sentinel://a:1,b:2/name", "")] {
                let redis = Redis::new(url, username.to_owned(), Some(&file)).unwrap();
                let (made, wanted) = (RedisOptions::parse(&redis.url()).unwrap(), RedisOptions::parse(url).unwrap());
                assert_eq!(made.topology(), wanted.topology());
                assert_eq!(made.login(), (Some(username).filter(|name| !name.is_empty()), Some(password)), "{url}");
            }
        }
        std::fs::remove_file(&file).unwrap();
        let error = Redis::new("redis://a:1", String::new(), Some(&file)).err().map(|error| error.kind);
        assert_eq!(error, Some(ErrorKind::Invalid), "a file that is not there");
    }

    #[test]
    fn without_a_password_the_url_stays_as_it_is() {
        let redis = Redis { url: "redis://a:1/2", username: "me".to_owned(), password: None };
        assert_eq!(redis.url(), "redis://a:1/2");
    }
}
