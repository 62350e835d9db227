//! New sockets to the nodes, without waiting for them to be connected.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::bench::Result;
use crate::bench::address::WsAddress;

/// Last byte of the last source address on loopback.
const LAST: u8 = 250;

pub(super) struct Sockets {
    servers: Vec<SocketAddr>,
    /// Last byte of the source address 127.0.0.x: the next one is taken when the ports of one run out.
    source: u8,
}

impl Sockets {
    pub(super) fn new(urls: &[WsAddress]) -> Result<Self> {
        let servers = urls.iter().map(WsAddress::resolve).collect::<std::result::Result<_, _>>()?;
        Ok(Self { servers, source: 1 })
    }

    /// Sets out to the server of a connection.
    pub(super) fn connect(&mut self, number: usize) -> Result<OwnedFd> {
        let server = *self.servers.get(number % self.servers.len().max(1)).ok_or("no address to connect to")?;
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let is_local = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::STREAM, flags, None)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
            if is_local && self.source > 1 {
                bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, self.source), 0))?;
            }
            match connect(&socket, &server) {
                Ok(()) | Err(Errno::INPROGRESS) => return Ok(socket),
                Err(error) if std::io::Error::from(error).kind() == ErrorKind::AddrNotAvailable => {
                    if !is_local || self.source >= LAST {
                        return Err("the ports of this machine are used up".into());
                    }
                    self.source += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
