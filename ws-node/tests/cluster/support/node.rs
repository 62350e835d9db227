//! What all processes of one cluster are configured with.

use std::fmt::Display;

use gim_proto::Keys;
use gim_proxy_sdk::testing::prefix;

/// What callers of a node show.
pub(crate) const TOKEN: &str = "a-token-for-the-tests";

/// See the module.
#[derive(Clone)]
pub(crate) struct Spec {
    prefix: String,
    lanes: u16,
    settings: Vec<String>,
}

impl Spec {
    /// Keys of its own, and so many lanes.
    pub(crate) fn new(lanes: u16) -> Self {
        let settings = vec![
            "mode=cluster".to_owned(),
            "auth.mode=none".to_owned(),
            format!("rpc.token={TOKEN}"),
            "worker.embedded=false".to_owned(),
            // What a client on a busy machine did not read yet is not what is tested here.
            "session.outbox_frames=100000".to_owned(),
            "session.outbox_bytes=16MiB".to_owned(),
        ];
        Self { prefix: prefix(), lanes, settings }
    }

    pub(crate) fn set(mut self, key: &str, value: impl Display) -> Self {
        let is_of_key = |setting: &String| setting.split_once('=').is_some_and(|(name, _)| name == key);
        self.settings.retain(|setting| !is_of_key(setting));
        self.settings.push(format!("{key}={value}"));
        self
    }

    pub(crate) fn has(&self, setting: &str) -> bool {
        self.settings.iter().any(|one| one == setting)
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.prefix).expect("a prefix")
    }

    pub(crate) fn lane_count(&self) -> u16 {
        self.lanes
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let own = [format!("prefix={}", self.prefix), format!("queue.lanes={}", self.lanes)];
        self.settings.iter().cloned().chain(own).collect()
    }
}
