//! Clients that read, note what they saw on which connection and when, and come back elsewhere by themselves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::AbortOnDropHandle;

use super::eventually;
use super::now_ms;
use super::traffic::{People, Traffic};

/// How long a login may take before another node is tried.
const LOGIN: Duration = Duration::from_secs(1);
/// How often a client asks whether the node is still there.
const BEAT: Duration = Duration::from_millis(250);
/// How long before another try.
const AGAIN: Duration = Duration::from_millis(50);

type Socket = WebSocketStream<TcpStream>;

/// One message as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) number: u32,
    /// Unix milliseconds.
    pub(crate) at: u64,
}

/// What one connection saw. Times are Unix milliseconds.
#[derive(Default)]
pub(crate) struct Connection {
    /// The place of the node in the list.
    pub(crate) node: usize,
    pub(crate) named: String,
    pub(crate) session: String,
    pub(crate) fence: u64,
    /// It showed the session before.
    pub(crate) presented: bool,
    /// The node knew its group.
    pub(crate) restored: bool,
    /// When a login of its client last failed, or was given up: it may have been granted all the same, and have taken the
    /// place of this connection, or the groups of the one before.
    pub(crate) gave_up: Option<u64>,
    /// Welcomed.
    pub(crate) ready: Option<u64>,
    /// In its group.
    pub(crate) joined: Option<u64>,
    pub(crate) seen: HashMap<String, Vec<Seen>>,
    /// When it was told to come back, after so many milliseconds.
    pub(crate) hint: Option<u64>,
    /// The client lost its patience with the silence. The connection stands, and is read.
    pub(crate) abandoned: Option<u64>,
    /// How it ended: the close code, or 0 if it was cut; and when.
    pub(crate) end: Option<(u16, u64)>,
}

/// How recorders live.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) people: People,
    pub(crate) publics: Arc<[SocketAddr]>,
    /// Milliseconds of silence after which another node is tried. 0: never.
    pub(crate) patience: Arc<AtomicU64>,
    /// Who ever loses patience.
    pub(crate) is_impatient: fn(usize) -> bool,
    /// Milliseconds after which a client goes elsewhere by itself, about. 0: never.
    pub(crate) roam: Arc<AtomicU64>,
}

/// One user with one group, at first on the node of its number.
pub(crate) struct Recorder {
    pub(crate) user: usize,
    log: Arc<Mutex<Vec<Connection>>>,
    _task: AbortOnDropHandle<()>,
}

impl Plan {
    /// Everybody is as patient as can be.
    pub(crate) fn new(people: People, publics: impl IntoIterator<Item = SocketAddr>) -> Self {
        let publics = publics.into_iter().collect();
        Self { people, publics, patience: Arc::default(), is_impatient: |_| true, roam: Arc::default() }
    }

    /// Connects all of them.
    pub(crate) async fn connect_all(&self) -> Vec<Recorder> {
        let all: Vec<Recorder> = (0..self.people.users).map(|user| Recorder::start(self.clone(), user)).collect();
        all_are_there(&all).await;
        all
    }

    fn patience_of(&self, user: usize) -> Option<Duration> {
        let patience = self.patience.load(Ordering::SeqCst);
        (patience > 0 && (self.is_impatient)(user)).then(|| Duration::from_millis(patience))
    }
}

impl Recorder {
    fn start(plan: Plan, user: usize) -> Self {
        let log = Arc::default();
        let task = AbortOnDropHandle::new(tokio::spawn(run(plan, user, Arc::clone(&log))));
        Self { user, log, _task: task }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is connected and in its group.
    pub(crate) fn is_there(&self) -> bool {
        let log = self.log();
        log.last().is_some_and(|last| last.joined.is_some() && last.end.is_none() && last.abandoned.is_none())
    }

    /// Waits until it has seen this number of a target.
    pub(crate) async fn reaches(&self, target: &str, number: usize) {
        let what = format!("{target} {number} to reach {}", People::uid(self.user));
        eventually(&what, || async {
            let log = self.log();
            let last = log.last()?.seen.get(target)?.last()?.number;
            (last as usize >= number).then_some(())
        })
        .await;
    }

    /// It connected once and is connected.
    pub(crate) fn is_on_its_first_connection(&self) -> bool {
        let log = self.log();
        log.len() == 1 && log[0].end.is_none()
    }

    /// The place of the node that it is connected to.
    pub(crate) fn node(&self) -> usize {
        self.log().last().expect("it connected").node
    }
}

/// Waits until everybody is connected and in its group.
pub(crate) async fn all_are_there(recorders: &[Recorder]) {
    for recorder in recorders {
        let what = format!("{} to be in its group", People::uid(recorder.user));
        eventually(&what, || async { recorder.is_there().then_some(()) }).await;
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

/// How a connection was left. `Silent`: it stands.
enum Left {
    Ended(u16),
    Silent(Box<Socket>),
}

/// One client on one connection.
#[derive(Clone)]
struct Reader {
    plan: Plan,
    user: usize,
    log: Arc<Mutex<Vec<Connection>>>,
    /// Its place in the log.
    at: usize,
}

async fn run(plan: Plan, user: usize, log: Arc<Mutex<Vec<Connection>>>) {
    let mut node = user % plan.publics.len();
    let mut session = String::new();
    // They are read to their end, so that it is seen what comes after the client has gone elsewhere.
    let mut abandoned: Vec<AbortOnDropHandle<()>> = Vec::new();
    let mut gave_up = None;
    loop {
        let Some(socket) = login(plan.publics[node], user, &session, &mut gave_up).await else {
            sleep(AGAIN).await;
            node = (node + 1) % plan.publics.len();
            continue;
        };
        let connection = Connection { node, presented: !session.is_empty(), gave_up, ..Connection::default() };
        let at = {
            let mut log = log.lock().unwrap();
            log.push(connection);
            log.len() - 1
        };
        let reader = Reader { plan: plan.clone(), user, log: Arc::clone(&log), at };
        let left = reader.read(socket, true).await;
        let hint = reader.note(|connection| {
            if !connection.session.is_empty() {
                session.clone_from(&connection.session);
            }
            match &left {
                Left::Ended(code) => connection.end = Some((*code, now_ms())),
                Left::Silent(_) => connection.abandoned = Some(now_ms()),
            }
            connection.hint
        });
        if let Left::Silent(socket) = left {
            abandoned.push(AbortOnDropHandle::new(tokio::spawn(async move {
                if let Left::Ended(code) = reader.read(*socket, false).await {
                    reader.note(|connection| connection.end = Some((code, now_ms())));
                }
            })));
        }
        sleep(Duration::from_millis(hint.unwrap_or_default())).await;
        node = (node + 1) % plan.publics.len();
    }
}

async fn login(node: SocketAddr, user: usize, session: &str, gave_up: &mut Option<u64>) -> Option<Socket> {
    let url = format!("ws://{node}/ws?uid={}&msg_code=1&session={session}", People::uid(user));
    let login = async {
        let stream = TcpStream::connect(node).await.ok()?;
        client_async(url, stream).await.ok()
    };
    let answer = timeout(LOGIN, login).await.ok().flatten();
    if answer.is_none() {
        *gave_up = Some(now_ms());
    }
    answer.map(|(socket, _)| socket)
}

impl Reader {
    fn note<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner)[self.at])
    }

    async fn read(&self, mut socket: Socket, may_leave: bool) -> Left {
        let mut beat = interval(BEAT);
        let begun = Instant::now();
        let mut heard = begun;
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                _ = beat.tick() => {
                    if may_leave && self.may_roam(begun) {
                        // Every other time the connection is left standing, until the next one takes its place.
                        return if self.at.is_multiple_of(2) { Left::Ended(0) } else { Left::Silent(Box::new(socket)) };
                    }
                    let Some(patience) = self.plan.patience_of(self.user).filter(|_| may_leave) else {
                        heard = Instant::now();
                        continue;
                    };
                    if heard.elapsed() > patience {
                        return Left::Silent(Box::new(socket));
                    }
                    let _ = timeout(BEAT, socket.send(Message::Ping(Vec::new().into()))).await;
                    continue;
                }
            };
            heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => {
                    if self.take(&text) {
                        let tgid = &self.plan.people.targets(self.user)[1];
                        let join = json!({ "seq": "join", "cmd": "gim.join", "data": { "tgid": tgid } });
                        let _ = socket.send(Message::text(join.to_string())).await;
                    }
                }
                Some(Ok(Message::Close(close))) => return Left::Ended(close.map_or(0, |close| close.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Left::Ended(0),
            }
        }
    }

    /// Whether it has been here long enough, which is another span for each connection.
    fn may_roam(&self, begun: Instant) -> bool {
        let roam = self.plan.roam.load(Ordering::SeqCst);
        let part = u64::try_from((self.user * 7 + self.at * 3) % 10).expect("a digit");
        roam > 0 && begun.elapsed() > Duration::from_millis(roam * (5 + part) / 10)
    }

    /// Notes a frame. True: the group has to be joined.
    fn take(&self, text: &str) -> bool {
        let at = now_ms();
        if let Some((target, number)) = numbered(text) {
            self.note(|connection| {
                connection.seen.entry(target.to_owned()).or_default().push(Seen { number, at });
            });
            return false;
        }
        let frame: Value = serde_json::from_str(text).unwrap();
        let a = &frame["response"]["a"];
        let tgid = &self.plan.people.targets(self.user)[1];
        self.note(|connection| match frame["cmd"].as_str() {
            Some("gim.welcome") => {
                a["session"].as_str().unwrap().clone_into(&mut connection.session);
                a["node"].as_str().unwrap().clone_into(&mut connection.named);
                connection.fence = a["fence"].as_u64().unwrap();
                connection.ready = Some(at);
                connection.restored = a["groups"].as_array().unwrap().iter().any(|group| group == tgid);
                connection.joined = connection.restored.then_some(at);
                !connection.restored
            }
            Some("gim.notice") => {
                connection.hint = a["after_ms"].as_u64();
                false
            }
            _ if frame["seq"] == "join" => {
                // Refused while the directory is away: it is asked for again.
                connection.joined = (a["tgid"] == **tgid).then_some(at);
                connection.joined.is_none()
            }
            _ => panic!("u{} did not expect {frame}", self.user),
        })
    }
}

/// Target and number of a message of the traffic. By hand: there are very many.
fn numbered(text: &str) -> Option<(&str, u32)> {
    let (_, rest) = text.split_once(r#""a":{"t":""#)?;
    let (target, rest) = rest.split_once(r#"","n":"#)?;
    let (number, _) = rest.split_once('}')?;
    Some((target, number.parse().ok()?))
}
