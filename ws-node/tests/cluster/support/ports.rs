//! Ports for processes that come back on the same one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// How many ports one process of tests takes at most before it looks among its neighbour's.
const EACH: u16 = 300;

/// A port below those that outgoing connections get: nobody must take one while its owner is down.
pub(crate) fn address() -> SocketAddr {
    listener().local_addr().expect("an address")
}

/// The same, taken already.
pub(crate) fn listener() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 60).expect("below 60") * EACH;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
    }
}
