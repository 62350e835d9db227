//! The request that wants to become a session, and what an application answers to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use gim_proto::codes::ErrorCode;
use gim_proto::frame::Dialect;
use gim_proto::{NameError, Uid};
use http::StatusCode;

use super::Failure;

/// The head of an upgrade request, as the client sent it.
#[derive(Clone, Debug)]
pub struct UpgradeRequest {
    pub(crate) dialect: Dialect,
    /// Percent-decoded.
    pub(crate) query: Pairs,
    pub(crate) headers: Pairs,
    pub(crate) peer: SocketAddr,
}

/// Names with values, in one text: there are many, and few are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    text: String,
    places: Vec<Place>,
}

/// Where a name and its value are in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    name: Span,
    value: Span,
}

/// From where to where. A head has a bound far below 4 GiB.
type Span = [u32; 2];

impl Place {
    pub(crate) fn of(name: Range<usize>, value: Range<usize>) -> Self {
        let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { name: [at(name.start), at(name.end)], value: [at(value.start), at(value.end)] }
    }
}

impl Pairs {
    /// Takes the lines of a head. What is not UTF-8 of it is replaced.
    pub(crate) fn of_head(head: Vec<u8>, places: Vec<Place>) -> Self {
        let bytes = match String::from_utf8(head) {
            Ok(mut text) => {
                // It came in a buffer for larger ones.
                text.shrink_to_fit();
                return Self { text, places };
            }
            Err(error) => error.into_bytes(),
        };
        let piece =
            |[from, to]: Span| String::from_utf8_lossy(bytes.get(from as usize..to as usize).unwrap_or_default());
        let mut replaced = Self::default();
        places.iter().for_each(|place| replaced.push(&piece(place.name), &piece(place.value)));
        replaced
    }

    /// For so many bytes of names and values.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), places: Vec::new() }
    }

    /// Appends one.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        let begin = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.places.push(Place::of(begin..middle, middle..self.text.len()));
    }

    /// The values of a name. `is_it` tells whether two names of one length are the same.
    fn of<'a>(&'a self, name: &str, is_it: fn(&str, &str) -> bool) -> impl Iterator<Item = &'a str> {
        let slice = |[from, to]: Span| self.text.get(from as usize..to as usize).unwrap_or_default();
        // Most are told from it by how long they are.
        let is_long_as = |place: &&Place| (place.name[1] - place.name[0]) as usize == name.len();
        let named = self.places.iter().filter(is_long_as).filter(move |place| is_it(slice(place.name), name));
        named.map(move |place| slice(place.value))
    }
}

impl UpgradeRequest {
    /// The path the client asked for.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self.dialect {
            Dialect::Acc => "/acc",
            Dialect::Ws => "/ws",
        }
    }

    /// Which of the two forms of frames the path stands for.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A query parameter, percent-decoded. The first of a name counts.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.of(name, |one, other| one == other).next()
    }

    /// A header, whatever the case of its name. The first counts.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines(name).next()
    }

    /// The values of a header, of all lines of that name.
    pub(crate) fn lines<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.of(name, str::eq_ignore_ascii_case).map(str::trim)
    }

    /// Whether a header that is a comma list holds a word, over all lines of that name.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        let items = self.lines(name).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        items.map(<[u8]>::trim_ascii).any(|item| item.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What an application noted about a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(pub(crate) HashMap<String, String>);

/// Who connects.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) uid: Uid,
    pub(crate) attributes: Attributes,
}

impl Identity {
    /// Names the user.
    ///
    /// # Errors
    /// The uid breaks the rule for names: 1 to 128 bytes without control characters, white space, `{` or `}`.
    pub fn uid(uid: &str) -> Result<Self, NameError> {
        Ok(Self { uid: Uid::parse(uid)?, attributes: Attributes::default() })
    }

    /// Notes something about the user for the life of the session.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.0.insert(key.into(), value.into());
        self
    }

    pub(crate) fn from_query(request: &UpgradeRequest) -> Result<Self, Refusal> {
        match request.query("uid") {
            Some(uid) => Ok(Self::uid(uid)?),
            None => Err(Refusal::bad_request("uid is missing")),
        }
    }
}

/// Why a login is refused, told to the client before the 101.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) retry_after_s: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_s: None }
    }

    /// The request makes no sense (400).
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::ParamsError, message)
    }

    /// Nobody knows who this is (401).
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Forbidden, message)
    }

    /// This user may not connect (403).
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
    }

    /// Not now (503, with Retry-After in seconds).
    pub fn unavailable(message: impl Into<String>, retry_after_s: u64) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::HandlerFailed, message);
        refusal.retry_after_s = Some(retry_after_s);
        refusal
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
        refusal.retry_after_s = Some(1);
        refusal
    }

    pub(crate) fn of_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, ErrorCode::ParamsError, message)
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl Failure for Refusal {
    fn panicked(what: &str) -> Self {
        tracing::error!(panic = what, "authorize panicked");
        Self::unavailable("the login failed", 1)
    }

    fn late() -> Self {
        Self::unavailable("the login took too long", 1)
    }
}
