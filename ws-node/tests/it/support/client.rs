//! An ordinary client: tungstenite's WebSocket, JSON frames, expectations with deadlines.
//!
//! Every expectation is about the very next frame, so that a frame too many is noticed.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::within;

/// A connected client.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Connected by `/ws`.
    modern: bool,
    /// The fields of the welcome; null on `/acc`.
    pub(crate) welcome: Value,
}

/// A push as a client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) msg_type: u64,
    pub(crate) id: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) a: Value,
}

impl Client {
    /// Connects, and on `/ws` takes the welcome.
    pub(crate) async fn connect(addr: SocketAddr, path: &str) -> Self {
        let mut client = Self::open(addr, path).await;
        if client.modern {
            client.welcome = client.expect_notice("gim.welcome").await;
        }
        client
    }

    /// Connects on `/ws` with text frames, as that user.
    pub(crate) async fn user(addr: SocketAddr, uid: &str) -> Self {
        Self::connect(addr, &format!("/ws?uid={uid}&msg_code=1")).await
    }

    /// Connects and reads nothing yet.
    pub(crate) async fn open(addr: SocketAddr, path: &str) -> Self {
        match Self::try_open(addr, path).await {
            Ok(client) => client,
            Err(status) => panic!("{path} was refused with {status}"),
        }
    }

    /// Connects, or returns the status it was refused with.
    pub(crate) async fn try_open(addr: SocketAddr, path: &str) -> Result<Self, u16> {
        let stream = TcpStream::connect(addr).await.expect("the listener accepts");
        let url = format!("ws://{addr}{path}");
        match within("the answer to the handshake", client_async(url, stream)).await {
            Ok((socket, _)) => Ok(Self { socket, modern: path.starts_with("/ws"), welcome: Value::Null }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    pub(crate) fn session(&self) -> &str {
        self.welcome["session"].as_str().expect("the welcome names the session")
    }

    pub(crate) fn fence(&self) -> u64 {
        self.welcome["fence"].as_u64().expect("the welcome tells the fence")
    }

    pub(crate) async fn send(&mut self, message: Message) {
        within("the node to read", self.socket.send(message)).await.expect("the connection stands");
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    pub(crate) async fn command(&mut self, seq: &str, cmd: &str, data: Value) {
        self.send_text(&json!({ "seq": seq, "cmd": cmd, "data": data }).to_string()).await;
    }

    /// Sends a command and returns its reply.
    pub(crate) async fn ask(&mut self, cmd: &str, data: Value) -> Value {
        self.command("ask", cmd, data).await;
        self.expect_reply("ask").await
    }

    pub(crate) async fn join(&mut self, tgid: &str) {
        let reply = self.ask("gim.join", json!({ "tgid": tgid })).await;
        assert_eq!(reply, json!({ "tgid": tgid }));
    }

    /// Shows that nothing is on its way to this client: the reply to a ping is the next frame.
    pub(crate) async fn expect_silence(&mut self) {
        self.command("silence", "gim.ping", Value::Null).await;
        self.expect_reply("silence").await;
    }

    /// The next message, pings and pongs left out. None: the connection ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        within("a message of the server", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }

    /// The bytes of the next data message.
    pub(crate) async fn data(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Message::Text(text)) => text.as_bytes().to_vec(),
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("wanted a data message, got {other:?}"),
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        String::from_utf8(self.data().await).expect("a message in UTF-8")
    }

    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) async fn expect_push(&mut self) -> Push {
        let frame = self.json().await;
        let msg_type = frame["msgType"].as_u64().unwrap_or_default();
        assert!(matches!(msg_type, 2 | 3), "wanted a push, got {frame}");
        assert_eq!((&frame["seq"], &frame["cmd"]), (&json!(""), &json!("")), "{frame}");
        let response = &frame["response"];
        assert_eq!(response["s"], 1, "{frame}");
        let id = frame.get("id").map(|id| id.as_str().expect("an id is text").to_owned());
        let offset = frame.get("offset").map(|offset| offset.as_u64().expect("an offset is a number"));
        Push { msg_type, id, offset, a: response["a"].clone() }
    }

    /// The next push must carry exactly this.
    pub(crate) async fn expect_body(&mut self, a: Value) -> Push {
        let push = self.expect_push().await;
        assert_eq!(push.a, a);
        push
    }

    /// The `a` of the reply with this seq, which must be no error.
    pub(crate) async fn expect_reply(&mut self, seq: &str) -> Value {
        let frame = self.json().await;
        assert_eq!(frame["msgType"], 1, "wanted the reply {seq}, got {frame}");
        assert_eq!(frame["seq"], seq, "{frame}");
        assert_eq!(frame["response"]["s"], 1, "{frame}");
        let a = &frame["response"]["a"];
        assert_eq!(a.get("system"), None, "wanted the reply {seq}, got an error: {frame}");
        a.clone()
    }

    /// The text of the error with this seq and code.
    pub(crate) async fn expect_error(&mut self, seq: &str, code: u64) -> String {
        let frame = self.json().await;
        assert_eq!(frame["msgType"], 1, "wanted the error {code}, got {frame}");
        assert_eq!(frame["seq"], seq, "{frame}");
        let error = &frame["response"]["a"]["system"]["error"];
        assert_eq!(error["code"], code, "{frame}");
        error["msg"].as_str().expect("an error has a text").to_owned()
    }

    /// The fields of the next notice, which must have this name.
    pub(crate) async fn expect_notice(&mut self, name: &str) -> Value {
        let frame = self.json().await;
        assert_eq!((&frame["msgType"], &frame["cmd"]), (&json!(4), &json!(name)), "wanted {name}, got {frame}");
        assert_eq!((&frame["seq"], &frame["response"]["s"]), (&json!(""), &json!(1)), "{frame}");
        frame["response"]["a"].clone()
    }

    /// Waits for the server's close with this code, on `/ws` with its notice before it, and for the end of the
    /// connection. Returns the reason.
    pub(crate) async fn expect_close(mut self, code: u16) -> String {
        if self.modern {
            let notice = self.expect_notice("gim.notice").await;
            assert_eq!(notice["code"], code, "{notice}");
        }
        self.expect_close_frame(code).await
    }

    /// The same without looking for a notice.
    pub(crate) async fn expect_close_frame(&mut self, code: u16) -> String {
        let reason = match self.next().await {
            Some(Message::Close(Some(close))) => {
                assert_eq!(u16::from(close.code), code, "{close:?}");
                close.reason.as_str().to_owned()
            }
            other => panic!("wanted the close {code}, got {other:?}"),
        };
        assert!(self.next().await.is_none(), "a message after the close frame");
        reason
    }

    /// Says goodbye and waits for the end of the connection. What comes meanwhile is passed over.
    pub(crate) async fn close(mut self) {
        within("the close", self.socket.close(None)).await.expect("the connection stands");
        while self.next().await.is_some() {}
    }
}
