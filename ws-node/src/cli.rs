//! The command line of `ws-node`.
//!
//! Owns its name and its configuration. The flags are those of all programs, see [`gim_msg_queue::cli`].

use std::ffi::OsString;

use gim_msg_queue::cli::Program;
pub use gim_msg_queue::cli::VALID;
use gim_msg_queue::config::ConfigError;

use crate::config::Config;

/// What the command line asks for.
pub type Command = gim_msg_queue::cli::Command<Config>;

const PROGRAM: Program = Program {
    name: "ws-node",
    about: "A node of GIM: holds the WebSocket connections of clients and delivers to them",
};

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
    gim_msg_queue::cli::read(PROGRAM, arguments, environment, Config::load)
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
