//! Passwords and ACL users on a server of its own.
//!
//! Owns making users and reading what they were denied, which is how the least privileges are found.

use super::RedisServer;

/// What a command was denied to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// `command`, `key`, `channel` or `auth`.
    pub reason: String,
    /// The command or key.
    pub object: String,
    /// The user.
    pub username: String,
}

/// Reads `ACL LOG` as redis-cli prints it, newest first.
#[must_use]
pub fn denials(log: &str) -> Vec<Denial> {
    let lines: Vec<&str> = log.lines().collect();
    let value = |entry: &[&str], name: &str| {
        let value = entry.iter().skip_while(|line| **line != name).nth(1);
        value.map(|value| (*value).to_owned()).unwrap_or_default()
    };
    let starts = lines.iter().enumerate().filter(|(_, line)| **line == "count").map(|(at, _)| at);
    starts
        .map(|at| Denial {
            reason: value(&lines[at..], "reason"),
            object: value(&lines[at..], "object"),
            username: value(&lines[at..], "username"),
        })
        .collect()
}

/// Finds the users in a text: lines that begin with `ACL SETUSER`. Gives what follows, with the password `secret`.
#[must_use]
pub fn users_of(text: &str) -> Vec<String> {
    rules_of(text).filter(|rules| !is_for_sentinels(rules)).collect()
}

/// The same for those of the sentinels.
#[must_use]
pub fn sentinel_users_of(text: &str) -> Vec<String> {
    rules_of(text).filter(|rules| is_for_sentinels(rules)).collect()
}

fn rules_of(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("ACL SETUSER "));
    lines.map(|rules| rules.replace(">CHANGE-ME", ">secret"))
}

fn is_for_sentinels(rules: &str) -> bool {
    rules.contains("+sentinel|")
}

impl RedisServer {
    /// Runs a command as a user who may do everything, and returns what redis-cli prints.
    pub async fn tell(&self, command: &[&str]) -> String {
        run(self.port(), command).await
    }

    /// Makes an ACL user from what follows `ACL SETUSER`, such as `app on >secret ~app:* +get`.
    pub async fn set_user(&self, rules: &str) {
        let words: Vec<&str> = rules.split_whitespace().collect();
        assert_eq!(self.tell(&[&["ACL", "SETUSER"], &words[..]].concat()).await, "OK", "{rules}");
    }

    /// What users were denied since the start, newest first, 128 at most.
    pub async fn denials(&self) -> Vec<Denial> {
        denials(&self.tell(&["ACL", "LOG", "128"]).await)
    }
}

async fn run(port: u16, command: &[&str]) -> String {
    let mut cli = tokio::process::Command::new("redis-cli");
    cli.args(["-p", &port.to_string()]).args(command);
    let answer = cli.output().await.expect("redis-cli; as root: apt-get install -y redis-server");
    String::from_utf8_lossy(&answer.stdout).trim_end().to_owned()
}
