//! The command line that the programs have in common: which configuration, and what to do with it.
//!
//! Owns the flags and what they ask for. Never prints and never exits: `main` does, with what [`read`] returns.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

use crate::config::{self, ConfigError, Sources};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<C> {
    /// To run with this configuration.
    Run(Box<C>),
    /// To say that the configuration is valid ([`VALID`]), and no more.
    Check,
    /// To show this text on standard output, and no more.
    Print(String),
}

/// What `--check-config` says about a valid configuration.
pub const VALID: &str = "configuration is valid";

/// One program: what it is called, and what its help begins with.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Reads this TOML file, the same for nodes and workers; without it there are only defaults, the environment and flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a key, such as queue.lanes=8; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What the service stands on; short for --set mode=MODE
    #[arg(long)]
    mode: Option<String>,
    /// Checks the configuration and ends
    #[arg(long)]
    check_config: bool,
    /// Shows the configuration in effect as TOML, secrets hidden, and ends
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
}

/// Reads a command line, whose first argument is the program, and an environment. `load` makes the program's
/// configuration of them.
///
/// # Errors
/// When a flag, the file or a variable cannot be used; exit code 64.
pub fn read<C, A, E, N, V>(
    program: Program,
    arguments: A,
    environment: E,
    load: impl FnOnce(&Sources) -> Result<C, ConfigError>,
) -> Result<Command<C>, ConfigError>
where
    C: Serialize,
    A: IntoIterator,
    A::Item: Into<OsString> + Clone,
    E: IntoIterator<Item = (N, V)>,
    N: Into<OsString>,
    V: Into<OsString>,
{
    let command = Flags::command().name(program.name).bin_name(program.name).about(program.about);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| Flags::from_arg_matches(&matches));
    let flags = match parsed {
        Ok(flags) => flags,
        Err(error) => return explain(&error),
    };
    let config = load(&sources(&flags)?.environment(environment))?;
    if flags.check_config {
        return Ok(Command::Check);
    }
    if flags.print_config {
        return config::print(&config).map(Command::Print);
    }
    Ok(Command::Run(Box::new(config)))
}

fn sources(flags: &Flags) -> Result<Sources, ConfigError> {
    let mut sources = Sources::new();
    if let Some(path) = &flags.config {
        sources = sources.file(path);
    }
    for assignment in &flags.set {
        sources = sources.set(assignment)?;
    }
    if let Some(mode) = &flags.mode {
        sources = sources.flag("--mode", "mode", mode);
    }
    Ok(sources)
}

/// Tells a question about the program from a mistake.
fn explain<C>(error: &clap::Error) -> Result<Command<C>, ConfigError> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Command::Print(text)),
        _ => Err(ConfigError::usage(text.trim().trim_start_matches("error: "))),
    }
}
