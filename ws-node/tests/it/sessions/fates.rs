//! What became of one of many clients that connected at once.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;

/// What a client saw, and itself if it is still connected.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) fence: Option<u64>,
    pub(super) notice: Option<u64>,
    pub(super) close: Option<u64>,
    pub(super) owner: Option<Client>,
}

/// Connects so many clients of one uid at once. Also returns how many were told to try again (503), which happens while
/// a previous owner is being taken down.
pub(super) async fn connect_at_once(addr: SocketAddr, uid: &str, count: usize) -> (Vec<Client>, usize) {
    let mut connecting = JoinSet::new();
    for _ in 0..count {
        let path = format!("/ws?uid={uid}&msg_code=1");
        connecting.spawn(async move { Client::try_open(addr, &path).await });
    }
    let mut clients = Vec::new();
    for connected in connecting.join_all().await {
        match connected {
            Ok(client) => clients.push(client),
            Err(status) => assert_eq!(status, 503),
        }
    }
    let refused = count - clients.len();
    (clients, refused)
}

/// Reads each client up to the marker, which only a live session gets, or to its end.
pub(super) async fn fates(clients: Vec<Client>) -> Vec<Fate> {
    let mut reading = JoinSet::new();
    for client in clients {
        reading.spawn(fate(client));
    }
    reading.join_all().await
}

async fn fate(mut client: Client) -> Fate {
    let mut fate = Fate::default();
    loop {
        match client.next().await {
            Some(Message::Close(close)) => {
                fate.close = close.map(|close| u64::from(u16::from(close.code)));
            }
            None => return fate,
            Some(message) => {
                let frame: Value = serde_json::from_slice(&message.into_data()).expect("JSON");
                let a = &frame["response"]["a"];
                match frame["cmd"].as_str() {
                    Some("gim.welcome") => fate.fence = a["fence"].as_u64(),
                    Some("gim.notice") => fate.notice = a["code"].as_u64(),
                    _ => {
                        assert_eq!(*a, json!({ "marker": true }), "{frame}");
                        fate.owner = Some(client);
                        return fate;
                    }
                }
            }
        }
    }
}
