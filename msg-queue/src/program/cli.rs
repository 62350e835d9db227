//! The command line of `msg-queue`.
//!
//! Owns its name and its configuration. The flags are those of all programs, see [`crate::cli`].

use std::ffi::OsString;

use super::config::Config;
use crate::cli::Program;
pub use crate::cli::VALID;
use crate::config::ConfigError;

/// What the command line asks for.
pub type Command = crate::cli::Command<Config>;

const PROGRAM: Program = Program {
    name: "msg-queue",
    about: "A worker of GIM: takes entries from the queue and brings them to the nodes of a cluster",
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
    crate::cli::read(PROGRAM, arguments, environment, Config::load)
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigErrorKind, Origin};

    use super::*;

    const NOTHING: [(&str, &str); 0] = [];

    #[test]
    fn a_worker_of_its_own_is_for_a_cluster_only() {
        for arguments in [&["msg-queue"][..], &["msg-queue", "--mode", "redis"]] {
            let error = read(arguments, NOTHING).unwrap_err();
            assert_eq!((error.key.as_str(), &error.kind), ("mode", &ConfigErrorKind::Senseless));
            assert!(error.allowed.contains("the worker is in the node"), "{error}");
        }
        let Command::Run(config) = read(["msg-queue", "--mode", "cluster"], NOTHING).unwrap() else { panic!() };
        assert_eq!(config.listen.admin.port(), 8082);
    }

    #[test]
    fn what_only_nodes_read_is_passed_over_and_what_nobody_knows_is_refused() {
        let environment = [("GIM_MODE", "cluster"), ("GIM_LISTEN__PUBLIC", "nonsense"), ("GIM_SESSION__PING", "x")];
        let of_nodes = ["auth.mode=none", "limits.page=1", "upstream.x=1", "node.advertise_rpc=?", "listen.rpc=?"];
        let mut arguments = vec!["msg-queue"];
        of_nodes.iter().for_each(|setting| arguments.extend(["--set", setting]));
        assert!(matches!(read(&arguments, environment), Ok(Command::Run(_))));
        for (setting, key) in [("listen.pubic=1", "listen.pubic"), ("queue.lanes=0", "queue.lanes"), ("x.y=1", "x.y")] {
            let error = read(["msg-queue", "--mode=cluster", "--set", setting], NOTHING).unwrap_err();
            assert_eq!(error.key, key, "{error}");
        }
    }

    #[test]
    fn a_listener_beyond_loopback_needs_a_token() {
        let open = ["msg-queue", "--mode=cluster", "--set", "listen.admin=0.0.0.0:8082"];
        let error = read(open, NOTHING).unwrap_err();
        assert_eq!((error.key.as_str(), error.origin), ("listen.admin", Origin::Flag("--set listen.admin".to_owned())));
        assert!(read(open, [("GIM_ADMIN__TOKEN", "correct-horse-battery")]).is_ok());
    }

    #[test]
    fn the_configuration_is_checked_and_printed_without_secrets() {
        let token = [("GIM_RPC__TOKEN", "correct-horse-battery")];
        assert_eq!(read(["msg-queue", "--mode=cluster", "--check-config"], token).unwrap(), Command::Check);
        let Command::Print(text) = read(["msg-queue", "--mode=cluster", "--print-config"], token).unwrap() else {
            panic!("not printed");
        };
        assert!(text.contains("token = \"***\"") && !text.contains("correct-horse"), "{text}");
    }

    #[test]
    fn questions_about_the_program_are_no_mistakes() {
        for (flag, part) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "--check-config")] {
            let Command::Print(text) = read(["msg-queue", flag], NOTHING).unwrap() else { panic!("{flag}") };
            assert!(text.contains(part), "{text}");
        }
    }
}
