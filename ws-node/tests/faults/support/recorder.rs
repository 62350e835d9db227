//! Clients that only read, note what they saw on which connection, and come back by themselves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::AbortOnDropHandle;

use super::eventually;
use super::traffic::{People, Traffic};

/// What one connection saw.
#[derive(Default)]
pub(crate) struct Connection {
    /// In which run of the node it was.
    pub(crate) run: usize,
    pub(crate) session: String,
    /// It came back, and the node knew its group.
    pub(crate) restored: bool,
    pub(crate) joined: bool,
    /// The numbers per target, as they came.
    pub(crate) seen: HashMap<String, Vec<u32>>,
    /// How it ended: the close code, or 0 if it was cut.
    pub(crate) end: Option<u16>,
}

/// One user with one group.
pub(crate) struct Recorder {
    pub(crate) user: usize,
    log: Arc<Mutex<Vec<Connection>>>,
    _task: AbortOnDropHandle<()>,
}

/// How a recorder lives.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) people: People,
    pub(crate) node: SocketAddr,
    /// Counts the runs of the node.
    pub(crate) run: Arc<AtomicUsize>,
    /// They come back when their connection has ended, each fifth user so much later than the one before. None: nobody.
    pub(crate) back: Option<Duration>,
}

impl Plan {
    /// Everybody connects once.
    pub(crate) fn once(people: People, node: SocketAddr) -> Self {
        Self { people, node, run: Arc::default(), back: None }
    }

    /// Connects all of them.
    pub(crate) async fn connect_all(&self) -> Vec<Recorder> {
        let all: Vec<Recorder> = (0..self.people.users).map(|user| Recorder::start(self.clone(), user)).collect();
        for recorder in &all {
            recorder.joined().await;
        }
        all
    }
}

impl Recorder {
    fn start(plan: Plan, user: usize) -> Self {
        let log = Arc::default();
        let task = AbortOnDropHandle::new(tokio::spawn(run(plan, user, Arc::clone(&log))));
        Self { user, log, _task: task }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.log.lock().unwrap()
    }

    async fn joined(&self) {
        eventually("a client to be in its group", || async { self.log().last()?.joined.then_some(()) }).await;
    }

    /// Waits until it has seen this number of a target.
    pub(crate) async fn reaches(&self, target: &str, number: usize) {
        let what = format!("{target} {number} to reach {}", People::uid(self.user));
        eventually(&what, || async {
            let log = self.log();
            let last = log.last()?.seen.get(target)?.last().copied()?;
            (last as usize >= number).then_some(())
        })
        .await;
    }

    /// How often it connected, and whether it is connected.
    pub(crate) fn is_on_its_first_connection(&self) -> bool {
        let log = self.log();
        log.len() == 1 && log[0].end.is_none()
    }

    /// Waits until its connection has ended and returns how.
    pub(crate) async fn ended(&self) -> u16 {
        eventually("a connection to end", || async { self.log().last()?.end }).await
    }
}

/// Waits until every client has seen everything of its targets that was accepted.
pub(crate) async fn all_reach_the_end(recorders: &[Recorder], people: People, traffic: &Traffic) {
    for recorder in recorders {
        for target in people.targets(recorder.user) {
            recorder.reaches(&target, traffic.accepted(&target)).await;
        }
    }
}

async fn run(plan: Plan, user: usize, log: Arc<Mutex<Vec<Connection>>>) {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let mut session = String::new();
    loop {
        pause.tick().await;
        let uid = People::uid(user);
        let url = format!("ws://{}/ws?uid={uid}&msg_code=1&session={session}", plan.node);
        let Ok(stream) = TcpStream::connect(plan.node).await else { continue };
        let Ok((socket, _)) = client_async(url, stream).await else { continue };
        let connection = Connection { run: plan.run.load(Ordering::SeqCst), ..Connection::default() };
        log.lock().unwrap().push(connection);
        let end = read(socket, &plan.people.targets(user)[1], &log).await;
        {
            let mut log = log.lock().unwrap();
            let last = log.last_mut().unwrap();
            last.end = Some(end);
            if !last.session.is_empty() {
                session.clone_from(&last.session);
            }
        }
        let Some(back) = plan.back else { return };
        tokio::time::sleep(back * u32::try_from(user % 5).unwrap()).await;
    }
}

async fn read(mut socket: WebSocketStream<TcpStream>, tgid: &str, log: &Mutex<Vec<Connection>>) -> u16 {
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) => {
                if take(&text, tgid, log) {
                    let join = json!({ "seq": "join", "cmd": "gim.join", "data": { "tgid": tgid } });
                    let _ = socket.send(Message::text(join.to_string())).await;
                }
            }
            Ok(Message::Close(close)) => return close.map_or(0, |close| u16::from(close.code)),
            Ok(_) => {}
            Err(_) => return 0,
        }
    }
    0
}

/// Notes a frame. True: the group has to be joined.
fn take(text: &str, tgid: &str, log: &Mutex<Vec<Connection>>) -> bool {
    let mut log = log.lock().unwrap();
    let connection = log.last_mut().unwrap();
    if let Some((target, number)) = numbered(text) {
        connection.seen.entry(target.to_owned()).or_default().push(number);
        return false;
    }
    let frame: Value = serde_json::from_str(text).unwrap();
    let a = &frame["response"]["a"];
    if frame["cmd"] == "gim.welcome" {
        a["session"].as_str().unwrap().clone_into(&mut connection.session);
        connection.restored = a["groups"].as_array().unwrap().iter().any(|group| group == tgid);
        connection.joined = connection.restored;
        return !connection.restored;
    }
    if frame["seq"] == "join" {
        assert_eq!(a["tgid"], tgid, "the join is refused: {frame}");
        connection.joined = true;
    }
    false
}

/// Target and number of a message of the traffic. By hand: there are very many.
fn numbered(text: &str) -> Option<(&str, u32)> {
    let (_, rest) = text.split_once(r#""a":{"t":""#)?;
    let (target, rest) = rest.split_once(r#"","n":"#)?;
    let (number, _) = rest.split_once('}')?;
    Some((target, number.parse().ok()?))
}
