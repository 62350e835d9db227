//! An application with what the protocol gives it: it keeps epoch and offset of the last durable message it has dealt with,
//! acknowledges now and then, is cut off again and again, and resumes where it was, on any node.
//!
//! Owns one user's connections. Notes everything, corrects nothing: what comes twice is noted twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{eventually, now_ms};

const LOGIN: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(50);
/// How often it acknowledges, pings, and looks whether the server still speaks.
const BEAT: Duration = Duration::from_millis(200);
/// Silence after which it goes elsewhere.
const PATIENCE: u64 = 1_500;

type Socket = WebSocketStream<TcpStream>;

/// What the world does to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It may connect.
    There,
    /// It is cut off: the connection is reset.
    Cut,
    /// It goes away and its connection stands, as behind a network that says nothing.
    Silent,
    /// It is closed for good.
    Gone,
}

/// One message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: Box<str>,
    pub(crate) number: u32,
    /// Unix milliseconds.
    pub(crate) at: u64,
    /// Of the connection it came on.
    pub(crate) fence: u64,
}

/// What one application has seen.
#[derive(Default)]
pub(crate) struct Log {
    /// Fence of each connection, and when it was welcomed.
    pub(crate) connections: Vec<(u64, u64)>,
    /// Durable messages in the order they came.
    pub(crate) letters: Vec<Seen>,
    /// The others, also those that came on a connection it had left.
    pub(crate) pushes: Vec<Seen>,
    /// Offsets that did not follow the one before, and were not announced.
    pub(crate) jumps: Vec<(u64, u64)>,
    /// Messages that were said not to come.
    pub(crate) gone: u64,
    pub(crate) resets: u64,
    /// Acknowledgements that were refused.
    pub(crate) refused: u64,
    pub(crate) is_joined: bool,
}

/// Epoch and offset of the last message it has dealt with.
type Position = (u64, u64);

/// See the module.
pub(crate) struct App {
    pub(crate) uid: String,
    log: Arc<Mutex<Log>>,
    pub(crate) reach: watch::Sender<Reach>,
    _task: AbortOnDropHandle<()>,
}

impl App {
    /// Connects it, to the first node that lets it in, and joins this group for good.
    pub(crate) fn start(uid: String, tgid: Option<String>, publics: Arc<[SocketAddr]>, first: usize) -> Self {
        let (reach, seen) = watch::channel(Reach::There);
        let log = Arc::default();
        let mut life = Life {
            uid: uid.clone(),
            tgid,
            publics,
            reach: seen,
            log: Arc::clone(&log),
            node: first,
            session: String::new(),
            position: None,
            fence: 0,
            heard: 0,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(async move { life.live().await }));
        Self { uid, log, reach, _task: task }
    }

    /// One that has seen this, for those who judge the judge.
    pub(crate) fn that_saw(uid: &str, log: Log) -> Self {
        let (reach, _) = watch::channel(Reach::Gone);
        let task = AbortOnDropHandle::new(tokio::spawn(std::future::ready(())));
        Self { uid: uid.to_owned(), log: Arc::new(Mutex::new(log)), reach, _task: task }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is connected and in its group.
    pub(crate) async fn is_in(&self) {
        let what = format!("{} to be in its group", self.uid);
        eventually(&what, || async { self.log().is_joined.then_some(()) }).await;
    }
}

struct Life {
    uid: String,
    tgid: Option<String>,
    publics: Arc<[SocketAddr]>,
    reach: watch::Receiver<Reach>,
    log: Arc<Mutex<Log>>,
    node: usize,
    session: String,
    position: Option<Position>,
    fence: u64,
    /// When the server last said anything, Unix milliseconds.
    heard: u64,
}

impl Life {
    async fn live(&mut self) {
        let mut left: Vec<AbortOnDropHandle<()>> = Vec::new();
        loop {
            if *self.reach.borrow() == Reach::Gone {
                return;
            }
            drop(self.reach.wait_for(|reach| matches!(reach, Reach::There | Reach::Gone)).await);
            if let Some(mut socket) = self.login().await {
                self.use_up(&mut socket).await;
                if *self.reach.borrow() == Reach::Silent {
                    left.push(AbortOnDropHandle::new(tokio::spawn(read_on(socket, self.fence, Arc::clone(&self.log)))));
                }
            } else {
                sleep(AGAIN).await;
            }
            self.node = (self.node + 1) % self.publics.len();
        }
    }

    async fn login(&self) -> Option<Socket> {
        let (epoch, offset) = self.position.unwrap_or_default();
        let node = self.publics[self.node];
        let Self { uid, session, .. } = self;
        let url = format!("ws://{node}/ws?uid={uid}&msg_code=1&session={session}&epoch={epoch}&offset={offset}");
        let login = async {
            let stream = TcpStream::connect(node).await.ok()?;
            client_async(url, stream).await.ok()
        };
        timeout(LOGIN, login).await.ok().flatten().map(|(socket, _)| socket)
    }

    /// Until it is cut, closed, or the server has been silent for too long.
    async fn use_up(&mut self, socket: &mut Socket) {
        let mut beat = interval(BEAT);
        self.heard = now_ms();
        let mut reach = self.reach.clone();
        let mut acked = self.position.unwrap_or_default();
        loop {
            tokio::select! {
                () = async { drop(reach.wait_for(|reach| *reach != Reach::There).await) } => return,
                _ = beat.tick() => {
                    if now_ms() > self.heard + PATIENCE || self.say(socket, &mut acked).await.is_none() {
                        return;
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.heard = now_ms();
                        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
                        if self.take(&frame) && self.join(socket).await.is_none() {
                            return;
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => self.heard = now_ms(),
                },
            }
        }
    }

    async fn say(&self, socket: &mut Socket, acked: &mut Position) -> Option<()> {
        let mut frames = vec![Message::Ping(Vec::new().into())];
        if let Some((epoch, offset)) = self.position.filter(|position| position != acked) {
            let ack = json!({ "seq": "ack", "cmd": "gim.ack", "data": { "offset": offset, "epoch": epoch } });
            frames.push(Message::text(ack.to_string()));
            *acked = (epoch, offset);
        }
        for frame in frames {
            timeout(BEAT, socket.send(frame)).await.ok()?.ok()?;
        }
        Some(())
    }

    async fn join(&self, socket: &mut Socket) -> Option<()> {
        let join = json!({ "seq": "join", "cmd": "gim.join", "data": { "tgid": self.tgid, "durable": true } });
        socket.send(Message::text(join.to_string())).await.ok()
    }

    fn note<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a frame. True: the group has to be joined.
    fn take(&mut self, frame: &Value) -> bool {
        let a = &frame["response"]["a"];
        match (frame["cmd"].as_str(), frame["seq"].as_str()) {
            (Some("gim.welcome"), _) => return self.welcomed(a),
            (Some("gim.gap"), _) => self.gap(a),
            (Some("gim.notice"), _) => {}
            (_, Some("ack")) => self.note(|log| log.refused += u64::from(a["system"]["error"].is_object())),
            (_, Some("join")) => {
                let is_in = a["tgid"].is_string();
                self.note(|log| log.is_joined |= is_in);
                return !is_in;
            }
            _ => self.message(frame, a),
        }
        false
    }

    fn welcomed(&mut self, a: &Value) -> bool {
        a["session"].as_str().expect("a session").clone_into(&mut self.session);
        self.fence = a["fence"].as_u64().expect("a fence");
        let epoch = a["epoch"].as_u64().expect("an epoch");
        // Who comes for the first time begins at the beginning.
        self.position.get_or_insert((epoch, 0));
        let is_member =
            a["groups"].as_array().into_iter().flatten().any(|group| group.as_str() == self.tgid.as_deref());
        self.note(|log| {
            log.connections.push((self.fence, now_ms()));
            log.is_joined |= is_member || self.tgid.is_none();
        });
        self.tgid.is_some() && !is_member
    }

    fn gap(&mut self, a: &Value) {
        let number = |name: &str| a[name].as_u64().unwrap_or_default();
        let (from, to) = (number("from"), number("to"));
        if a["reason"] == "reset" {
            self.position = Some((number("epoch"), from - 1));
            self.note(|log| log.resets += 1);
        } else {
            self.position = self.position.map(|(epoch, _)| (epoch, to));
            self.note(|log| log.gone += to + 1 - from);
        }
    }

    fn message(&mut self, frame: &Value, a: &Value) {
        let seen = seen(a, self.fence);
        let Some(offset) = frame["offset"].as_u64() else {
            return self.note(|log| log.pushes.push(seen));
        };
        let (epoch, last) = self.position.expect("it was welcomed");
        self.position = Some((epoch, offset));
        self.note(|log| {
            log.letters.push(seen);
            if offset != last + 1 {
                log.jumps.push((last, offset));
            }
        });
    }
}

fn seen(a: &Value, fence: u64) -> Seen {
    let target = a["t"].as_str().expect("a target").into();
    let number = a["n"].as_u64().and_then(|number| u32::try_from(number).ok()).expect("a number");
    Seen { target, number, at: now_ms(), fence }
}

/// Reads a connection that its application has left: nothing new may come on it once there is another.
async fn read_on(mut socket: Socket, fence: u64, log: Arc<Mutex<Log>>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        let a = &frame["response"]["a"];
        if a["t"].is_string() && frame["offset"].is_null() {
            log.lock().unwrap_or_else(PoisonError::into_inner).pushes.push(seen(a, fence));
        }
    }
}
