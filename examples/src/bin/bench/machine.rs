//! What the figures were measured on, and which core does what.

use std::fs;

use serde_json::{Value, json};

pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
    /// It decides when the kernel sends, so figures of two of them are not comparable.
    pub(crate) congestion: String,
    /// Load average over the last minute: anything near a core's worth disturbs.
    pub(crate) load: String,
    /// How this program and those beside it were built.
    pub(crate) build: &'static str,
}

/// Which core the server and the load client are pinned to.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: Option<usize>,
    pub(crate) client: Option<usize>,
}

impl Machine {
    /// Reads what there is to know. Whether programs were built with a profile is nothing that they could tell.
    pub(crate) fn read(profiled: bool) -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let model = file("/proc/cpuinfo")
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(':'))
            .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model,
            kernel: file("/proc/sys/kernel/osrelease"),
            congestion: file("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            build: build(profiled),
        }
    }

    pub(crate) fn pinning(&self) -> Cores {
        if self.cores < 2 { Cores { server: None, client: None } } else { Cores { server: Some(0), client: Some(1) } }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "cores": self.cores, "model": self.model, "kernel": self.kernel,
            "tcp_congestion_control": self.congestion, "load_average_1m": self.load,
            "gim": env!("CARGO_PKG_VERSION"), "build": self.build, "pinned": self.cores > 1,
        })
    }
}

/// Figures of a debug build say nothing.
const fn build(profiled: bool) -> &'static str {
    match (cfg!(debug_assertions), profiled) {
        (true, _) => "debug",
        (false, true) => "release, services with a profile",
        (false, false) => "release",
    }
}
