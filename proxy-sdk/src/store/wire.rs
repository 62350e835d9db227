//! A connection of one's own, at the level of the wire: for whoever reads or settles so much that a general client is
//! felt.
//!
//! Owns the connection: finding the master, TLS, login, writing, and cutting what comes into replies. A reply is one
//! buffer with a list of what is where in it, however many parts it has: none of them is copied or given memory of its
//! own. Speaks RESP2 only. What does not keep to it, and what is larger than any reply that was asked for, ends the
//! connection. Knows no deadline but that of connecting: the caller bounds what it waits for. Never repeats anything.

mod command;
mod reply;
mod scan;
#[cfg(test)]
mod tests;
mod tls;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::scan::{Progress, Scan};
use super::connect::{self, Master};
use super::{Address, RedisOptions, Store, StoreError, StoreErrorKind};

pub use self::command::Command;
pub(crate) use self::command::push_length;
pub use self::reply::{Part, Parts, Reply};

pub(super) use self::tls::client_config;

/// Room for what is read at once, in bytes, before anything is known of how much it is.
const FIRST_READ: usize = 16 << 10;
/// Room that is kept for the next reply, in bytes, at most.
const KEPT: usize = 1 << 20;
/// Bytes of one reply, at most. Several times of what a reader asks for at once.
const MOST_REPLY: usize = 128 << 20;

/// See the module.
pub struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    scan: Scan,
    /// How large the last reply was.
    last: usize,
    /// Bytes of memory behind `input`, at most.
    held: usize,
    /// A write has begun and not ended, or the connection has failed.
    broken: bool,
}

/// What a connection runs over.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Store {
    /// Makes a connection to the master that holds a key's slot, logged in and proven by an answer.
    ///
    /// # Errors
    /// Nothing was sent yet: every error but a refused login is [`StoreErrorKind::Unavailable`].
    pub async fn wire(&self, key: &str) -> Result<Wire, StoreError> {
        let options = self.options();
        // Finding the master and connecting to it take a bounded time each.
        let most = options.connect_timeout * 2;
        // Boxed: whoever awaits it would otherwise carry all ways to connect within its own future.
        let connecting = Box::pin(async { open(options, connect::find(options, key).await?).await });
        timeout(most, connecting).await.map_err(|_| StoreError::unreachable())?
    }

    /// The same to one master of a cluster.
    pub(crate) async fn wire_at(&self, server: &Address) -> Result<Wire, StoreError> {
        let options = self.options();
        let master = Master { host: server.host.clone(), port: server.port, database: 0 };
        let connecting = Box::pin(open(options, master));
        timeout(options.connect_timeout, connecting).await.map_err(|_| StoreError::unreachable())?
    }
}

async fn open(options: &RedisOptions, Master { host, port, database }: Master) -> Result<Wire, StoreError> {
    let unreachable = |error: std::io::Error| StoreError::unreachable_for(error);
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let mut wire = match options.tls {
        true => Wire::over(tls::connect(options, &host, tcp).await?),
        false => Wire::over(tcp),
    };
    wire.log_in(options, database).await.map_err(|error| match error.kind {
        StoreErrorKind::Denied => error,
        _ => StoreError { kind: StoreErrorKind::Unavailable, ..error },
    })?;
    Ok(wire)
}

impl Wire {
    /// Speaks over a connection that is made already.
    fn over(stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            input: BytesMut::new(),
            scan: Scan::default(),
            last: 0,
            held: 0,
            broken: false,
        }
    }

    async fn log_in(&mut self, options: &RedisOptions, database: u8) -> Result<(), StoreError> {
        let login = &options.login;
        if let Some(password) = &login.password {
            let mut auth = Command::new("AUTH");
            login.username.iter().for_each(|username| auth.arg(username));
            auth.arg(password);
            let denied = |error: StoreError| match error.code {
                Some(_) => StoreError { kind: StoreErrorKind::Denied, ..error },
                None => error,
            };
            self.call(&auth).await?.ok().map_err(denied)?;
        }
        if database > 0 {
            let mut select = Command::new("SELECT");
            select.number(u64::from(database));
            self.call(&select).await?.ok()?;
        }
        // Not that the name matters, nor whether this is known and allowed: but the answer proves the connection, so that
        // one which a server refuses late (TLS 1.3) is not taken for made.
        let mut name = Command::new("CLIENT");
        ["SETINFO", "LIB-NAME", "gim"].iter().for_each(|arg| name.arg(arg));
        match self.call(&name).await?.ok() {
            // It lets nobody do anything who does not log in.
            Err(error) if error.is("NOAUTH") => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends one command and waits for its answer. Nothing else is on its way. Dropped before it is answered, it takes the
    /// connection with it: the answer would be taken for the next one's.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`receive`](Self::receive). What the server refuses is a [`Reply`] too: see
    /// [`Reply::ok`].
    pub async fn call(&mut self, command: &Command) -> Result<Reply, StoreError> {
        let mut out = Vec::new();
        command.write(&mut out);
        self.send(&out).await?;
        self.broken = true;
        let reply = self.next().await?;
        self.broken = false;
        Ok(reply)
    }

    /// Sends commands that were [written](Command::write) one behind the other. Each gets its reply, in order. Dropped
    /// before it is done, it takes the connection with it.
    ///
    /// # Errors
    /// The connection broke: what of it took effect is unknown.
    pub async fn send(&mut self, commands: &[u8]) -> Result<(), StoreError> {
        self.bounded(async |wire| {
            wire.stream.write_all(commands).await.map_err(StoreError::broken)?;
            wire.stream.flush().await.map_err(StoreError::broken)
        })
        .await
    }

    /// Waits for the next reply. May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke ([`StoreErrorKind::Unknown`]), or what came is no reply ([`StoreErrorKind::Corrupt`]). The
    /// connection is of no use any more.
    pub async fn receive(&mut self) -> Result<Reply, StoreError> {
        if self.broken {
            return Err(StoreError::unanswered());
        }
        self.next().await
    }

    async fn next(&mut self) -> Result<Reply, StoreError> {
        loop {
            match self.scan.advance(&self.input) {
                Ok(Progress::Whole { bytes }) => return Ok(self.cut(bytes)),
                Ok(Progress::Needs { bytes }) if bytes <= MOST_REPLY => {
                    let room = (bytes - self.input.len()).max(self.last.clamp(FIRST_READ, KEPT));
                    self.input.reserve(room);
                    // Memory that is used again is larger than what is left of it looks.
                    self.held = self.held.max(self.input.capacity());
                }
                Ok(Progress::Needs { .. }) | Err(_) => {
                    self.broken = true;
                    return Err(StoreError {
                        kind: StoreErrorKind::Corrupt,
                        code: None,
                        source: Some(Box::new(NoReply)),
                    });
                }
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => {
                    self.broken = true;
                    return Err(StoreError::broken(std::io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(_) => {}
                Err(error) => {
                    self.broken = true;
                    return Err(StoreError::broken(error));
                }
            }
        }
    }

    fn cut(&mut self, bytes: usize) -> Reply {
        self.last = bytes;
        // Whoever keeps a part keeps all that was given memory together.
        let held = self.held;
        let whole = self.input.split_to(bytes).freeze();
        if held > 2 * KEPT {
            // What one large reply took is not kept for the next ones.
            self.input = BytesMut::from(&self.input[..]);
            self.held = self.input.capacity();
        }
        Reply::new(whole, self.scan.take(), held)
    }

    async fn bounded(&mut self, step: impl AsyncFnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // Whoever drops this in the middle leaves half a command behind.
        if std::mem::replace(&mut self.broken, true) {
            return Err(StoreError::unanswered());
        }
        step(self).await?;
        self.broken = false;
        Ok(())
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis sent what is no reply, or one that is too large")]
struct NoReply;
