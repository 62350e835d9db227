//! The `msg-queue` program: a worker of GIM, configured from a file, the environment and flags.
//!
//! Owns the process: its runtime, signals and exit codes (64 for a configuration that cannot be used, 1 for anything
//! else that keeps it from running). It is the only place that exits.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use gim_msg_queue::logging;
use gim_msg_queue::program::cli::{self, Command};
use gim_msg_queue::program::{Config, Running, StartError};
use gim_msg_queue::worker::DrainReport;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As in `ws-node`: docs/bench.md.
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
        Ok(runtime) => runtime.block_on(work(config, log)),
        Err(error) => return fail(&error, 1),
    };
    match outcome {
        Ok(report) if report.unsettled == 0 => ExitCode::SUCCESS,
        // The figures are in the log.
        Ok(_) => ExitCode::from(1),
        Err(error) => fail(error.as_ref(), code_of(error.as_ref())),
    }
}

fn code_of(error: &(dyn std::error::Error + 'static)) -> u8 {
    match error.downcast_ref() {
        Some(StartError::Config(_)) => BAD_CONFIG,
        _ => 1,
    }
}

/// Runs the worker until it is told to stop.
async fn work(config: Config, log: Arc<logging::LogGuard>) -> Result<DrainReport, Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let started = tokio::select! {
        started = Running::start(config, Some(log)) => started?,
        // Nothing was begun, so nothing is left behind.
        () = either(&mut terminate, &mut interrupt) => return Ok(DrainReport::default()),
    };
    tracing::info!(id = %started.id(), admin = %started.admin_addr(), "worker runs");
    either(&mut terminate, &mut interrupt).await;
    tokio::select! {
        report = started.stop() => Ok(report),
        () = either(&mut terminate, &mut interrupt) => {
            tracing::warn!("asked again, ending at once");
            std::process::exit(INTERRUPTED)
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminated, stopping"),
        _ = interrupt.recv() => tracing::info!("interrupted, stopping"),
    }
}

fn say(mut out: impl Write, text: &str) -> ExitCode {
    match writeln!(out, "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut text = format!("msg-queue: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    let _told = say(&mut std::io::stderr(), &text);
    ExitCode::from(code)
}
