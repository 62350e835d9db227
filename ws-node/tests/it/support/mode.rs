//! In which mode the suites run.
//!
//! The folder of the suites is built as two test programs, and the name of the program says the mode: `it` is mode
//! `local`, `redis` is mode `redis` against a real redis-server. A suite that differs between them says so itself. What
//! there is in mode `redis` alone, the streams that others write to and read, has a program of its own, `streams`.

use gim_proxy_sdk::testing::{prefix, shared_redis};
use gim_ws_node::config::{Config, Mode};

/// The mode of this program.
pub(crate) fn mode() -> Mode {
    match env!("CARGO_CRATE_NAME") {
        "redis" | "streams" => Mode::Redis,
        _ => Mode::Local,
    }
}

pub(crate) fn is_redis() -> bool {
    mode() == Mode::Redis
}

/// Makes of the default what this mode needs. In mode `redis` each node has keys of its own in the server all share.
pub(crate) async fn prepare(config: &mut Config) {
    config.mode = mode();
    if is_redis() {
        config.redis.url = shared_redis().await.url();
        config.prefix = prefix();
    }
}
