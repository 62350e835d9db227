//! The command line of `ws-node`.
//!
//! Owns the flags and what they ask for. Never prints and never exits: `main` does, with what [`read`] returns.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;
use gim_msg_queue::config::{self, ConfigError, Sources};

use crate::config::Config;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To serve with this configuration.
    Run(Box<Config>),
    /// To say that the configuration is valid ([`VALID`]), and no more.
    Check,
    /// To show this text on standard output, and no more.
    Print(String),
}

/// What `--check-config` says about a valid configuration.
pub const VALID: &str = "configuration is valid";

/// A node of GIM: holds the WebSocket connections of clients and delivers to them.
#[derive(Parser)]
#[command(name = "ws-node", version)]
struct Flags {
    /// Reads this TOML file; without it there are only defaults, the environment and flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a key, such as session.ping=30s; may be given more than once
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

/// Reads a command line, whose first argument is the program, and an environment.
///
/// # Errors
/// When a flag, the file or a variable cannot be used; exit code 64.
pub fn read<A, E, N, V>(arguments: A, environment: E) -> Result<Command, ConfigError>
where
    A: IntoIterator,
    A::Item: Into<OsString> + Clone,
    E: IntoIterator<Item = (N, V)>,
    N: Into<OsString>,
    V: Into<OsString>,
{
    let flags = match Flags::try_parse_from(arguments) {
        Ok(flags) => flags,
        Err(error) => return explain(&error),
    };
    let config = Config::load(&sources(&flags)?.environment(environment))?;
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
fn explain(error: &clap::Error) -> Result<Command, ConfigError> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Command::Print(text)),
        _ => Err(ConfigError::usage(text.trim().trim_start_matches("error: "))),
    }
}

#[cfg(test)]
mod tests {
    use gim_msg_queue::config::{ConfigErrorKind, Mode, Origin};

    use super::*;

    const NOTHING: [(&str, &str); 0] = [];

    fn run(command: Command) -> Box<Config> {
        match command {
            Command::Run(config) => config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_node_runs_on_its_defaults() {
        assert_eq!(*run(read(["ws-node"], NOTHING).unwrap()), Config::default());
    }

    #[test]
    fn flags_override_the_environment() {
        let environment = [("GIM_SESSION__PING", "5s"), ("GIM_NODE__ID", "7"), ("HOME", "/")];
        let config = run(read(["ws-node", "--set", "node.id=8", "--set=node.id=9"], environment).unwrap());
        assert_eq!(config.node.id.as_ref().map(|id| id.as_str()), Some("9"));
        assert_eq!(config.session.ping, Some(std::time::Duration::from_secs(5)));
    }

    #[test]
    fn the_mode_has_a_flag_of_its_own() {
        assert_eq!(run(read(["ws-node", "--mode", "local"], NOTHING).unwrap()).mode, Mode::Local);
        let redis = read(["ws-node", "--mode", "redis", "--set", "auth.mode=none"], NOTHING).unwrap();
        assert_eq!(run(redis).mode, Mode::Redis);
        let error = read(["ws-node", "--mode", "toy"], NOTHING).unwrap_err();
        assert_eq!((error.key.as_str(), &error.origin), ("mode", &Origin::Flag("--mode".to_owned())));
        assert!(error.allowed.contains("cluster"), "{error}");
    }

    #[test]
    fn a_configuration_can_be_checked_without_running() {
        assert_eq!(read(["ws-node", "--check-config"], NOTHING).unwrap(), Command::Check);
        let error = read(["ws-node", "--check-config"], [("GIM_QUEUE__LANES", "0")]).unwrap_err();
        assert_eq!(error.key, "queue.lanes");
        assert_eq!(error.origin, Origin::Environment("GIM_QUEUE__LANES".to_owned()));
    }

    #[test]
    fn the_configuration_in_effect_is_printed_without_secrets() {
        let environment = [("GIM_ADMIN__TOKEN", "correct-horse-battery"), ("GIM_QUEUE__LANES", "4")];
        let Command::Print(text) = read(["ws-node", "--print-config"], environment).unwrap() else {
            panic!("not printed");
        };
        assert!(text.contains("token = \"***\""), "{text}");
        assert!(text.contains("lanes = 4"), "{text}");
        assert!(!text.contains("correct-horse-battery"));
    }

    #[test]
    fn questions_about_the_program_are_no_mistakes() {
        for (flag, part) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "--check-config")] {
            let Command::Print(text) = read(["ws-node", flag], NOTHING).unwrap() else {
                panic!("{flag} did not print");
            };
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_malformed_command_line_is_refused() {
        for arguments in [&["ws-node", "--port", "1"][..], &["ws-node", "--set"], &["ws-node", "--set", "no sign"]] {
            assert_eq!(read(arguments, NOTHING).unwrap_err().kind, ConfigErrorKind::Usage, "{arguments:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_by_its_name() {
        let error = read(["ws-node", "--config", "/nowhere/gim.toml"], NOTHING).unwrap_err();
        assert_eq!(error.kind, ConfigErrorKind::File);
        assert_eq!(error.origin, Origin::File("/nowhere/gim.toml".into()));
    }
}
