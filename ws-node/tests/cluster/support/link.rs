//! One TCP link between two processes, carried by the test: it can be cut, fall silent, or be slow.
//!
//! Owns the port that the near side is told to connect to. A silent link keeps what it was given and hands it on when it
//! speaks again, as a network does that lost nothing but time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::ports;
use super::tap::{Parser, Tap};

/// What a link does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Each piece is held this long.
    Slow(Duration),
    /// Takes connections and forwards nothing.
    Silent,
    /// Resets what there is and refuses what comes.
    Cut,
}

/// See the module. Gone when dropped.
pub(crate) struct Link {
    near: SocketAddr,
    mode: watch::Sender<Mode>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// A link to this address.
    pub(crate) fn to(far: SocketAddr) -> Self {
        Self::start(far, None)
    }

    /// The same, and what the near side says is listened to.
    pub(crate) fn tapped(far: SocketAddr, tap: &Arc<Tap>) -> Self {
        Self::start(far, Some(Arc::clone(tap)))
    }

    fn start(far: SocketAddr, tap: Option<Arc<Tap>>) -> Self {
        let first = ports::listener();
        let near = first.local_addr().expect("an address");
        first.set_nonblocking(true).expect("a listener");
        let first = TcpListener::from_std(first).expect("a listener");
        let (mode, seen) = watch::channel(Mode::Pass);
        let task = AbortOnDropHandle::new(tokio::spawn(serve(first, far, seen, tap)));
        Self { near, mode, _task: task }
    }

    /// Where the near side connects to.
    pub(crate) fn near(&self) -> SocketAddr {
        self.near
    }

    /// Changes it, also for the connections there are.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(first: TcpListener, far: SocketAddr, mut mode: watch::Receiver<Mode>, tap: Option<Arc<Tap>>) {
    let near = first.local_addr().expect("an address");
    let mut first = Some(first);
    let connections = TaskTracker::new();
    let mut held: Vec<AbortOnDropHandle<()>> = Vec::new();
    loop {
        if mode.wait_for(|mode| *mode != Mode::Cut).await.is_err() {
            return;
        }
        let listener = match first.take() {
            Some(first) => first,
            None => TcpListener::bind(near).await.expect("the port of a link is its own"),
        };
        loop {
            let accepted = tokio::select! {
                biased;
                _ = mode.wait_for(|mode| *mode == Mode::Cut) => break,
                accepted = listener.accept() => accepted,
            };
            if let Ok((socket, _)) = accepted {
                held.retain(|task| !task.is_finished());
                held.push(AbortOnDropHandle::new(connections.spawn(carry(socket, far, mode.clone(), tap.clone()))));
            }
        }
    }
}

async fn carry(mut near: TcpStream, far: SocketAddr, mode: watch::Receiver<Mode>, tap: Option<Arc<Tap>>) {
    let mut cut = mode.clone();
    let connected = tokio::select! {
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => None,
        far = connect(far, mode.clone()) => far,
    };
    let Some(mut far) = connected else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let is_cut = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        tokio::select! {
            biased;
            _ = cut.wait_for(|mode| *mode == Mode::Cut) => true,
            () = pump(near_in, far_out, mode.clone(), tap.map(Parser::new)) => false,
            () = pump(far_in, near_out, mode.clone(), None) => false,
        }
    };
    if is_cut {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

async fn connect(far: SocketAddr, mut mode: watch::Receiver<Mode>) -> Option<TcpStream> {
    wait_for_a_pass(&mut mode).await;
    TcpStream::connect(far).await.ok()
}

/// Ends when either side has, or when the other does not take any more.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>, mut tap: Option<Parser>) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece).await;
        // An end is news too.
        wait_for_a_pass(&mut mode).await;
        let Ok(read @ 1..) = read else { return };
        if let Some(tap) = &mut tap {
            tap.take(&piece[..read]);
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

async fn wait_for_a_pass(mode: &mut watch::Receiver<Mode>) {
    let slow = match mode.wait_for(|mode| matches!(mode, Mode::Pass | Mode::Slow(_))).await.map(|mode| *mode) {
        Ok(Mode::Slow(slow)) => slow,
        _ => return,
    };
    tokio::time::sleep(slow).await;
}
