//! The `ws-node` program: a node of GIM, configured from a file, the environment and flags.
//!
//! Owns the process: its runtime, signals and exit codes (64 for a configuration that cannot be used, 1 for anything
//! else that keeps it from running). It is the only place that exits.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use gim_msg_queue::local::store::StoreErrorKind;
use gim_msg_queue::logging;
use gim_ws_node::cli::{self, Command};
use gim_ws_node::config::{AuthMode, Config};
use gim_ws_node::{Node, ShutdownReport, StartError};
use tokio::signal::unix::{SignalKind, signal};

/// Gives and takes back the many small pieces of a login for less CPU than the C library's, and keeps less memory per idle
/// connection: docs/bench.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The configuration cannot be used (`EX_USAGE`).
const BAD_CONFIG: u8 = 64;
/// What a shell reports of a program ended by a second interrupt.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    match cli::read(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Run(config)) => run(*config),
        Ok(Command::Check) => say(&mut std::io::stdout(), cli::VALID),
        Ok(Command::Print(text)) => say(&mut std::io::stdout(), text.trim_end()),
        Err(error) => fail(&error, BAD_CONFIG),
    }
}

fn run(config: Config) -> ExitCode {
    let log = match logging::start(&config.log) {
        Ok(guard) => Arc::new(guard),
        Err(error) => return fail(&error, 1),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.node.threads > 0 {
        runtime.worker_threads(config.node.threads);
    }
    let outcome = match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(config, log)),
        Err(error) => return fail(&error, 1),
    };
    match outcome {
        Ok(Some(report)) if report.forced == 0 && report.unsettled == 0 => ExitCode::SUCCESS,
        // The reason is in the log.
        Ok(_) => ExitCode::from(1),
        Err(error) => fail(error.as_ref(), code_of(error.as_ref())),
    }
}

fn code_of(error: &(dyn std::error::Error + 'static)) -> u8 {
    match error.downcast_ref() {
        Some(StartError::Config(_)) => BAD_CONFIG,
        Some(StartError::Store(error)) if error.kind == StoreErrorKind::Lanes => BAD_CONFIG,
        _ => 1,
    }
}

/// Runs the node until it is told to stop. None: it could not go on.
async fn serve(
    config: Config,
    log: Arc<logging::LogGuard>,
) -> Result<Option<ShutdownReport>, Box<dyn std::error::Error>> {
    let unauthenticated = config.auth.mode == AuthMode::None;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = Node::builder(config).log_guard(log).start().await?;
    tracing::info!(public = %node.public_addr(), admin = %node.admin_addr(), rpc = %node.rpc_addr(), "node runs");
    if unauthenticated {
        tracing::warn!("auth.mode is none: whoever connects is believed to be the uid it names");
    }
    let mut lost = false;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminated, stopping"),
        _ = interrupt.recv() => tracing::info!("interrupted, stopping"),
        () = node.lost() => {
            tracing::error!("another run has this node's place, stopping");
            lost = true;
        }
    }
    let again = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        report = node.shutdown() => Ok(Some(report).filter(|_| !lost)),
        () = again => {
            tracing::warn!("asked again, ending at once");
            std::process::exit(INTERRUPTED)
        }
    }
}

fn say(mut out: impl Write, text: &str) -> ExitCode {
    match writeln!(out, "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut text = format!("ws-node: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    let _told = say(&mut std::io::stderr(), &text);
    ExitCode::from(code)
}
