//! Section `listen`: the addresses this node answers on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gim_msg_queue::config::{Invalid, address};
use serde::{Deserialize, Serialize};

/// The three listeners. Port 0 takes any free port, which is told in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSection {
    /// Clients: `/acc`, `/ws`, `/`, `/healthz`, `/readyz`.
    #[serde(with = "address")]
    pub public: SocketAddr,
    /// Operators: `/sysinfo`, `/metrics`, `/api/v1/...`. Beyond loopback it needs `admin.token`.
    #[serde(with = "address")]
    pub admin: SocketAddr,
    /// Other nodes, workers and the SDK. Loopback only in mode `local`.
    #[serde(with = "address")]
    pub rpc: SocketAddr,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self {
            public: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
            admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081),
            rpc: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8091),
        }
    }
}

impl ListenSection {
    /// Checks that no two listeners share a port on one address.
    ///
    /// # Errors
    /// Names the later of the two.
    pub fn validate(&self) -> Result<(), Invalid> {
        let pairs = [
            ("listen.admin", self.admin, "listen.public", self.public),
            ("listen.rpc", self.rpc, "listen.public", self.public),
            ("listen.rpc", self.rpc, "listen.admin", self.admin),
        ];
        match pairs.iter().find(|(_, later, _, earlier)| collide(*later, *earlier)) {
            Some((key, _, against, earlier)) => Err(Invalid::against(
                key,
                against,
                format!("must be another address than {against}, which is {earlier}"),
            )),
            None => Ok(()),
        }
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_port = one.port() != 0 && one.port() == other.port();
    let either_is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let same_ip = one.ip() == other.ip() || (one.is_ipv4() == other.is_ipv4() && either_is_any);
    same_port && same_ip
}
