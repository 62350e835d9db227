//! The request head: reads it within its bounds and parses what an upgrade needs.
//!
//! Owns no answer. It reads into one small buffer that is gone when the session begins.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;

use gim_proto::frame::Dialect;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::core::Settings;
use crate::embed::{Pairs, Place, UpgradeRequest};

/// Why a head could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    TooLarge,
    Malformed,
    /// The client went away.
    Gone,
}

/// What is where in the bytes of a request.
pub(super) struct Head {
    is_get: bool,
    /// That of the path, if it is one of a session's.
    dialect: Option<Dialect>,
    query: Range<usize>,
    headers: Vec<Place>,
    /// Bytes of the head.
    size: usize,
}

/// A request for a session, on its own.
#[derive(Debug)]
pub(super) struct SessionRequest {
    pub(super) is_get: bool,
    pub(super) upgrade: UpgradeRequest,
}

/// Reads until the empty line that ends a head. Returns everything read, which may be more.
pub(super) async fn read(socket: &TcpStream, settings: &Settings) -> Result<Vec<u8>, HeadError> {
    const STEP: usize = 1_024;
    let mut bytes = Vec::with_capacity(STEP);
    loop {
        socket.readable().await.map_err(|_| HeadError::Gone)?;
        match read_some(socket, &mut bytes, STEP) {
            Ok(0) => return Err(HeadError::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(HeadError::Gone),
        }
        match end_of_head(&bytes) {
            Some(end) if end > settings.head_bytes => return Err(HeadError::TooLarge),
            Some(_) => return Ok(bytes),
            None if bytes.len() > settings.head_bytes => return Err(HeadError::TooLarge),
            None if !may_become_http(&bytes) => return Err(HeadError::Malformed),
            None => {}
        }
    }
}

/// Reads what is there, once, up to `most` bytes.
fn read_some(socket: &TcpStream, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let before = bytes.len();
    bytes.resize(before + most, 0);
    let mut got = None;
    let outcome = socket.try_io(Interest::READABLE, || {
        let room = bytes.get_mut(before..).unwrap_or_default();
        let (read, _) = rustix::net::recv(socket.as_fd(), room, RecvFlags::DONTWAIT)?;
        got = Some(read);
        // The socket is empty: saying so clears the readiness, and saves a second call.
        if read > 0 && read < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    bytes.truncate(before + got.unwrap_or(0));
    match got {
        Some(read) => Ok(read),
        None => outcome.map(|()| 0),
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Garbage is refused at its first line, not at the deadline.
fn may_become_http(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 1];
    let mut request = httparse::Request::new(&mut headers);
    !matches!(request.parse(bytes), Err(httparse::Error::Token | httparse::Error::Version | httparse::Error::NewLine))
}

pub(super) fn parse(bytes: &[u8], most_headers: usize) -> Result<Head, HeadError> {
    // Few requests have more than this, and a table for all that are allowed takes 2 KiB.
    const FEW: usize = 24;
    let mut few = [httparse::EMPTY_HEADER; FEW];
    let mut many = Vec::new();
    let mut request = httparse::Request::new(few.get_mut(..FEW.min(most_headers)).unwrap_or_default());
    let mut parsed = request.parse(bytes);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many.resize(most_headers, httparse::EMPTY_HEADER);
        request = httparse::Request::new(&mut many);
        parsed = request.parse(bytes);
    }
    let size = match parsed {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(_) => return Err(HeadError::Malformed),
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed);
    };
    // An empty query is one of this text, too: where it begins says what is where.
    let (path, query) = target.split_at(memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len()));
    let query = query.strip_prefix('?').unwrap_or(query);
    let dialect = match path {
        "/acc" => Some(Dialect::Acc),
        "/ws" => Some(Dialect::Ws),
        _ => None,
    };
    let within = |part: &[u8]| {
        let begin = part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        begin..begin + part.len()
    };
    let place = |header: &httparse::Header<'_>| Place::of(within(header.name.as_bytes()), within(header.value));
    let headers = request.headers.iter().map(place).collect();
    Ok(Head { is_get: method == "GET", dialect, query: within(query.as_bytes()), headers, size })
}

impl Head {
    /// Whether the path is one of a session's.
    pub(super) const fn is_for_sessions(&self) -> bool {
        self.dialect.is_some()
    }

    /// Takes the bytes in which it was found, and tells what the login needs of them and what came behind the head.
    ///
    /// # Errors
    /// The query is not UTF-8 once decoded.
    pub(super) fn detach(self, mut bytes: Vec<u8>, peer: SocketAddr) -> Result<(SessionRequest, Vec<u8>), HeadError> {
        let behind = bytes.split_off(self.size.min(bytes.len()));
        let query = bytes.get(self.query).and_then(|query| std::str::from_utf8(query).ok());
        let upgrade = UpgradeRequest {
            dialect: self.dialect.unwrap_or(Dialect::Ws),
            query: query.and_then(parse_query).ok_or(HeadError::Malformed)?,
            headers: Pairs::of_head(bytes, self.headers),
            peer,
        };
        Ok((SessionRequest { is_get: self.is_get, upgrade }, behind))
    }
}

fn parse_query(query: &str) -> Option<Pairs> {
    let mut pairs = Pairs::with_room(query.len());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push(&percent_decode(key)?, &percent_decode(value)?);
    }
    Some(pairs)
}

/// Sequences that are none stay as they are.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match (*first, others) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_percent_decoded() {
        for wrong in ["uid=%FF", "%C3=%A4"] {
            assert!(parse_query(wrong).is_none(), "{wrong}");
        }
        let request = upgrade(b"GET /acc?uid=a%20b&x=%C3%A4&uid=c&broken=%zz%4&plus=1+2&flag&%66=g HTTP/1.1\r\n\r\n");
        assert_eq!(request.path(), "/acc");
        let expect = [("uid", "a b"), ("x", "\u{e4}"), ("broken", "%zz%4"), ("plus", "1 2"), ("flag", ""), ("f", "g")];
        for (name, value) in expect {
            assert_eq!(request.query(name), Some(value), "{name}");
        }
        assert_eq!((request.query("UID"), request.query("y"), request.query("")), (None, None, None));
    }

    fn upgrade(head: &[u8]) -> UpgradeRequest {
        let (request, behind) = parse(head, 64).unwrap().detach(head.to_vec(), ([127, 0, 0, 1], 1).into()).unwrap();
        assert!(request.is_get && behind.is_empty());
        request.upgrade
    }

    #[test]
    fn a_head_is_told_from_what_follows_it() {
        let bytes = b"GET /ws?uid=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        let head = parse(bytes, 64).unwrap();
        assert!(head.is_for_sessions());
        let (request, behind) = head.detach(bytes.to_vec(), ([127, 0, 0, 1], 1).into()).unwrap();
        assert_eq!(behind, b"rest");
        assert!(request.upgrade.lists("connection", "upgrade"));
        assert_eq!(request.upgrade.header("HOST"), Some("x"));
        let elsewhere = parse(b"POST /other?uid=1 HTTP/1.1\r\n\r\n", 64).unwrap();
        assert!(!elsewhere.is_for_sessions() && !elsewhere.is_get);
    }

    #[test]
    fn headers_are_found_whatever_their_case_and_may_be_anything() {
        let request = upgrade(
            b"GET /ws HTTP/1.1\r\nX-Name: J\xf6rg\r\nx-name:  \t second \r\nEmpty:\r\nx-list: a ,, B\r\nX-List:\tc\r\n\r\n",
        );
        assert_eq!(request.header("x-NAME"), Some("J\u{fffd}rg"));
        assert_eq!(request.lines("X-Name").collect::<Vec<_>>(), ["J\u{fffd}rg", "second"]);
        assert_eq!((request.header("empty"), request.header("absent"), request.query("uid")), (Some(""), None, None));
        assert!(["A", "b", "", "C"].into_iter().all(|word| request.lists("x-list", word)));
        assert!(!request.lists("x-list", "a ,"));
    }

    #[test]
    fn more_headers_than_allowed_are_too_large_and_garbage_is_malformed() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        assert_eq!(parse(many.as_bytes(), 64).err(), Some(HeadError::TooLarge));
        assert_eq!(parse(b"\x16\x03\x01 garbage\r\n\r\n", 64).err(), Some(HeadError::Malformed));
        assert!(!may_become_http(b"\x16\x03\x01"));
        assert!(may_become_http(b"GET /ws HT"));
    }
}
