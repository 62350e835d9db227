//! A wire to Redis that can lose what comes back, or be cut.

use std::net::Ipv4Addr;
use std::sync::Arc;

use gim_proxy_sdk::store::RedisOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// What is asked arrives, what is answered does not.
    Mute,
    /// Connections end and none are made.
    Cut,
}

pub(crate) struct Wire {
    port: u16,
    state: Arc<watch::Sender<State>>,
    listener: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let states = Arc::clone(&state);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *states.borrow() != State::Cut {
                    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                    tokio::spawn(carry(client, server, states.subscribe()));
                }
            }
        });
        Self { port, state, listener }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        RedisOptions::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

// A connection that has lost an answer is of no use any more: it ends with the state it began in.
async fn carry(client: TcpStream, server: TcpStream, mut state: watch::Receiver<State>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = state.clone();
    let ended = async move {
        let mut muted = false;
        loop {
            let now = *state.borrow_and_update();
            if now == State::Cut || (muted && now == State::Whole) {
                return;
            }
            muted |= now == State::Mute;
            if state.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pump(from_client, to_server, None) => {}
        () = pump(from_server, to_client, Some(answers)) => {}
        () = ended => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Option<watch::Receiver<State>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let heard = state.as_ref().is_none_or(|state| *state.borrow() == State::Whole);
        if heard && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
