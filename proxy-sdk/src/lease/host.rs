//! Which machine this is, as far as loopback addresses go.

use rustix::system::uname;

/// Names the machine's present boot and this process's network: two processes that share them reach each other by
/// loopback, others do not. Where neither can be read the host's name has to do.
pub(super) fn name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
    let network = std::fs::read_link("/proc/self/ns/net").map(|link| link.to_string_lossy().into_owned());
    let name = || uname().nodename().to_string_lossy().into_owned();
    match (boot, network) {
        (Ok(boot), Ok(network)) => format!("{boot} {network}"),
        (boot, _) => format!("{} {}", boot.unwrap_or_default(), name()),
    }
}
