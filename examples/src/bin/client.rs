//! A client: connects, shows what arrives, sends the commands you type, comes back when it may.
//!
//! `cargo run -p gim-examples --bin client -- --uid 42`, then for instance `gim.join {"tgid":"lobby"}`.
//!
//! What every client of the service should do, whatever its language, is here:
//! the class of the close code decides whether it comes back, a hint of the server when, `session=` brings the
//! groups of the previous connection back with it, and what it acknowledges of its mailbox never comes again.
#![expect(clippy::print_stdout, reason = "showing what arrives is what this program is for")]

use std::time::Duration;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use gim_examples::backoff::Backoff;
use gim_examples::place::Place;
use gim_proto::codes::{CloseCode, Reconnect};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connects to a node and talks to it over the terminal.
#[derive(Parser)]
struct Args {
    /// Where a node listens
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// Who to connect as
    #[arg(long, default_value = "42")]
    uid: String,
    /// What proves it, for nodes that ask for a token
    #[arg(long)]
    token: Option<String>,
}

/// What the client remembers from one connection to the next.
struct Client {
    args: Args,
    lines: Lines<BufReader<Stdin>>,
    typing: bool,
    seq: u64,
    /// The session of the last welcome.
    session: Option<String>,
    /// What it has of its mailbox.
    place: Place,
    backoff: Backoff,
}

/// Why a connection, or the attempt to make one, is over.
enum End {
    /// You asked for it.
    Asked,
    /// The server closed, with a code and perhaps a hint when to come back.
    Closed { code: u16, reason: String, after: Option<Duration> },
    /// The server answered the handshake with something else than 101.
    Refused { status: u16, body: String, after: Option<Duration> },
    /// The network failed.
    Lost(SocketError),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut client = Client {
        args: Args::parse(),
        lines: BufReader::new(tokio::io::stdin()).lines(),
        typing: true,
        seq: 0,
        session: None,
        place: Place::default(),
        backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
    };
    loop {
        let end = client.connect_and_talk().await?;
        let Some(wait) = client.wait_after(&end) else {
            return if matches!(end, End::Asked) { Ok(()) } else { Err("it should not come back by itself".into()) };
        };
        println!("-- again in {:.1} s", wait.as_secs_f64());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        }
    }
}

impl Client {
    async fn connect_and_talk(&mut self) -> Result<End, Error> {
        match connect_async(self.url()).await {
            Ok((socket, _)) => self.talk(socket).await,
            Err(SocketError::Http(response)) => Ok(refused(&response)),
            Err(error) => Ok(End::Lost(error)),
        }
    }

    /// `msg_code=1` asks for text frames; without it a node sends binary ones.
    fn url(&self) -> String {
        let Args { url, uid, token } = &self.args;
        let mut url = format!("{url}?uid={}&msg_code=1", percent_encoded(uid));
        let more = [("token", token), ("session", &self.session)];
        for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            url.push_str(&format!("&{key}={}", percent_encoded(value)));
        }
        url.push_str(&self.place.query().unwrap_or_default());
        url
    }

    async fn talk(&mut self, mut socket: Socket) -> Result<End, Error> {
        println!("-- connected");
        // The node names the close code and a hint shortly before it closes.
        let mut hint = None;
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Close(frame))) => {
                        // A close without a code means nothing went wrong.
                        let (code, reason) = frame.map_or((1000, String::new()), |frame| {
                            (u16::from(frame.code), frame.reason.to_string())
                        });
                        read_out(&mut socket).await;
                        return Ok(End::Closed { code, reason, after: hint });
                    }
                    Some(Ok(message)) => {
                        let frame = shown(&message);
                        hint = self.note(&frame).or(hint);
                        self.acknowledge(&mut socket, &frame).await;
                    }
                    Some(Err(error)) => return Ok(End::Lost(error)),
                    None => return Ok(End::Lost(SocketError::ConnectionClosed)),
                },
                line = self.lines.next_line(), if self.typing => match line? {
                    Some(line) if line.trim() == "quit" => return close(socket).await,
                    Some(line) => self.send(&mut socket, line.trim()).await?,
                    // With nothing more to type it goes on listening.
                    None => self.typing = false,
                },
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    return close(socket).await;
                }
            }
        }
    }

    /// Says what it has of its mailbox. Without a `seq` nobody answers.
    async fn acknowledge(&mut self, socket: &mut Socket, frame: &Value) {
        if let Some(data) = self.place.take(frame) {
            let ack = json!({ "seq": "", "cmd": "gim.ack", "data": data });
            // A connection that is gone shows in what is read from it, and the next one says what it has.
            let _ = socket.send(Message::text(ack.to_string())).await;
        }
    }

    /// Takes note of a frame. Returns the hint, if it is the notice that announces a close.
    fn note(&mut self, frame: &Value) -> Option<Duration> {
        let fields = &frame["response"]["a"];
        match frame["cmd"].as_str()? {
            "gim.welcome" => {
                self.session = fields["session"].as_str().map(str::to_owned);
                self.backoff.reset();
                None
            }
            "gim.notice" => fields["after_ms"].as_u64().map(Duration::from_millis),
            _ => None,
        }
    }

    /// Sends a line: a command, then its data as JSON or nothing.
    async fn send(&mut self, socket: &mut Socket, line: &str) -> Result<(), Error> {
        let (cmd, data) = line.split_once(' ').unwrap_or((line, "null"));
        if cmd.is_empty() {
            return Ok(());
        }
        let Ok(data) = serde_json::from_str::<Value>(data) else {
            println!("-- not JSON: {data}");
            return Ok(());
        };
        self.seq += 1;
        let frame = json!({ "seq": self.seq.to_string(), "cmd": cmd, "data": data }).to_string();
        println!("-> {frame}");
        // A connection that is gone shows in what is read from it.
        let _ = socket.send(Message::text(frame)).await;
        Ok(())
    }

    /// How long to wait before the next attempt. `None`: there should be none.
    fn wait_after(&mut self, end: &End) -> Option<Duration> {
        match end {
            End::Asked => None,
            End::Lost(error) => {
                println!("-- lost: {error}");
                Some(self.backoff.next_wait())
            }
            End::Refused { status, body, after } => {
                println!("-- refused: {status} {body}");
                // 429 and 503 pass; the others would be answered the same way again.
                let wait = self.backoff.next_wait_after(after.unwrap_or_default());
                matches!(status, 429 | 503).then_some(wait)
            }
            End::Closed { code, reason, after } => {
                println!("-- closed: {code} {reason}");
                let again = CloseCode::from_code(*code).map_or(Reconnect::Yes, CloseCode::reconnect);
                match again {
                    Reconnect::No => None,
                    Reconnect::NewToken => {
                        println!("-- a new token is needed");
                        None
                    }
                    Reconnect::AfterHint => Some(self.backoff.next_wait_after(after.unwrap_or_default())),
                    // Nothing is ever repeated here but the connection itself.
                    Reconnect::Yes | Reconnect::Free | Reconnect::NotRepeating => Some(self.backoff.next_wait()),
                }
            }
        }
    }
}

/// Shows a message. What is no frame is null.
fn shown(message: &Message) -> Value {
    let text = match message {
        Message::Text(text) => text.as_str(),
        Message::Binary(bytes) => std::str::from_utf8(bytes).unwrap_or("(binary)"),
        // Pings are answered by the library.
        _ => return Value::Null,
    };
    println!("<- {text}");
    serde_json::from_str(text).unwrap_or_default()
}

async fn close(mut socket: Socket) -> Result<End, Error> {
    let _ = socket.close(None).await;
    read_out(&mut socket).await;
    Ok(End::Asked)
}

/// Reads to the end: the library answers a close while it is read from, and the server ends the connection then.
async fn read_out(socket: &mut Socket) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
}

fn refused(response: &Response) -> End {
    let hint = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.body().as_deref().unwrap_or_default();
    End::Refused {
        status: response.status().as_u16(),
        body: String::from_utf8_lossy(body).into_owned(),
        after: hint.map(Duration::from_secs),
    }
}

/// Encodes what may not stand in a query as it is.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
