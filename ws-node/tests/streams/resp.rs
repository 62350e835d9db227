//! Redis spoken by hand: RESP over a socket, as any producer in any language writes it.
//!
//! Never retries, reconnects or hides anything.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::within;

/// An answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
    Nil,
}

impl Reply {
    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("wanted a number, got {other:?}"),
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bulk(bytes) => bytes,
            Self::Simple(text) => text.into_bytes(),
            other => panic!("wanted bytes, got {other:?}"),
        }
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    pub(crate) fn array(self) -> Vec<Self> {
        match self {
            Self::Array(replies) => replies,
            other => panic!("wanted an array, got {other:?}"),
        }
    }
}

/// A connection to Redis.
pub(crate) struct Resp {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Resp {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("redis accepts");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, seen: Vec::new() }
    }

    /// Sends one command and returns its answer, which must be no error.
    pub(crate) async fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        let mut bytes = Vec::new();
        command(&mut bytes, words);
        self.send(&bytes).await;
        self.reply().await
    }

    /// The same with the words of a line.
    pub(crate) async fn line(&mut self, line: &str) -> Reply {
        self.call(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("redis to read", self.stream.write_all(bytes)).await.expect("the connection stands");
    }

    /// The next answer, which must be no error.
    pub(crate) async fn reply(&mut self) -> Reply {
        let reply = within("an answer of redis", async {
            loop {
                if let Some((reply, size)) = parse(&self.seen) {
                    self.seen.drain(..size);
                    return reply;
                }
                self.seen.reserve(64 * 1024);
                let read = self.stream.read_buf(&mut self.seen).await.expect("the connection stands");
                assert!(read > 0, "redis ended the connection");
            }
        })
        .await;
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        reply
    }
}

/// Writes one command: an array of bulk strings.
pub(crate) fn command<W: AsRef<[u8]>>(out: &mut Vec<u8>, words: &[W]) {
    out.extend(format!("*{}\r\n", words.len()).into_bytes());
    for word in words {
        let word = word.as_ref();
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend(word);
        out.extend(b"\r\n");
    }
}

fn parse(seen: &[u8]) -> Option<(Reply, usize)> {
    let end = seen.windows(2).position(|window| window == b"\r\n")?;
    let line = std::str::from_utf8(&seen[1..end]).expect("a line of RESP");
    let start = end + 2;
    let number = || line.parse::<i64>().expect("a number");
    match seen[0] {
        b'+' => Some((Reply::Simple(line.to_owned()), start)),
        b'-' => Some((Reply::Error(line.to_owned()), start)),
        b':' => Some((Reply::Int(number()), start)),
        b'$' | b'*' if number() < 0 => Some((Reply::Nil, start)),
        b'$' => {
            let length = usize::try_from(number()).expect("a length");
            let bytes = seen.get(start..start + length)?.to_vec();
            seen.get(start + length + 1)?;
            Some((Reply::Bulk(bytes), start + length + 2))
        }
        b'*' => {
            let mut at = start;
            let mut replies = Vec::new();
            for _ in 0..number() {
                let (reply, size) = parse(&seen[at..])?;
                replies.push(reply);
                at += size;
            }
            Some((Reply::Array(replies), at))
        }
        other => panic!("no RESP: {other}"),
    }
}
