//! The command line of `gim`.
//!
//! Owns the flags and which of them exclude each other. What the values of a message may be is the wire's to say, so
//! that is left to the decoder of entries.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use gim_proto::{EntryId, Keys, MessageId, NodeId, Tgid, Uid};

#[cfg(all(feature = "bench", target_os = "linux"))]
use super::bench::Bench;
use super::time;
#[cfg(all(feature = "bench", target_os = "linux"))]
use crate::bench::client::Work;
use crate::client::Address;
use crate::etcd::EtcdOptions;

/// Heads the flags that every subcommand takes.
const CALL: &str = "Every command";

/// Asks a GIM node to push, kick, join, leave, and shows how it does.
#[derive(Debug, Parser)]
#[command(name = "gim", version, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) place: Place,
    /// How long a call may take, such as 500ms
    #[arg(long, global = true, help_heading = CALL, value_name = "DURATION", default_value = "2s", value_parser = time::positive)]
    pub(super) timeout: Duration,
    /// A file with the token that the nodes ask for; without it the variable GIM_RPC__TOKEN is read
    #[arg(long, global = true, help_heading = CALL, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Writes JSON
    #[arg(long, global = true, help_heading = CALL)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Whom to ask.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The address of one node for calls; without it and --etcd http://127.0.0.1:8091
    #[arg(long, global = true, help_heading = CALL, value_name = "ADDRESS")]
    pub(super) node: Option<Address>,
    /// Where the nodes are registered: any that answers is asked; without it and --node the variable GIM_ETCD__ENDPOINTS
    /// counts
    #[arg(long, global = true, help_heading = CALL, value_name = "ENDPOINT,ENDPOINT", value_delimiter = ',', value_parser = endpoint, conflicts_with = "node")]
    pub(super) etcd: Vec<String>,
    /// What the cluster's keys in etcd begin with; without it the variable GIM_PREFIX counts, then gim
    #[arg(long, global = true, help_heading = CALL, value_parser = prefix, conflicts_with = "node")]
    pub(super) prefix: Option<String>,
}

fn endpoint(text: &str) -> Result<String, String> {
    EtcdOptions::new([text]).check().map(|()| text.to_owned()).map_err(|error| error.kind.to_string())
}

fn prefix(text: &str) -> Result<String, String> {
    Keys::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Once(Once),
    /// Shows the nodes again and again, and how fast their figures change
    Top(Top),
    /// Shows the way of a message step by step, or with --uid what a user does right now
    Trace(Trace),
    /// Puts load on a service that runs already, and measures what its clients see
    #[cfg(all(feature = "bench", target_os = "linux"))]
    Bench(Box<Bench>),
    /// A load client: a child of the former
    #[cfg(all(feature = "bench", target_os = "linux"))]
    #[command(hide = true)]
    BenchClient(Box<Work>),
}

/// What has one answer.
#[derive(Debug, Subcommand)]
pub(super) enum Once {
    /// Puts a message on the queue, or with --now sends it past the queue
    Push(Box<Push>),
    /// Takes back a message that nobody has begun to deliver, or one out of a user's mailbox
    Cancel(Cancel),
    /// Shows where users are connected
    Users(Users),
    /// Ends a user's connection
    Kick(Kick),
    /// Puts a connected user into a group, or with --durable any user
    Join(Join),
    /// Takes a user out of a group
    Leave(Member),
    /// Shows the nodes
    Nodes,
    /// Closes a node's sessions in waves, with a hint when to come back; its process stays
    Drain(Drain),
    /// Shows the lanes of the queue
    Queue,
    /// Shows what became of messages that asked for receipts, oldest first
    Receipts(Logged),
    /// Shows who came and went, oldest first
    Presence(Logged),
    /// Shows, puts back or deletes messages that could not be delivered
    #[command(subcommand)]
    Dead(Dead),
}

#[derive(Debug, Args)]
pub(super) struct Push {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) body: Body,
    #[command(flatten)]
    pub(super) policy: Policy,
    /// Sends past the queue and tells what became of it; only to one user or one group
    #[arg(long, conflicts_with_all = [
        "to_uids", "tgid_list", "all", "id", "class", "key", "ttl", "at", "delay", "priority",
    ])]
    pub(super) now: bool,
}

/// To whom.
#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("to").required(true).multiple(true).args(["to_uid", "to_uids", "tgid", "tgid_list", "all"])
))]
pub(super) struct Target {
    /// To this user; with a group only if a member of it
    #[arg(long, value_name = "UID", conflicts_with_all = ["to_uids", "all"])]
    pub(super) to_uid: Option<String>,
    /// To these users
    #[arg(long, value_name = "UID,UID", value_delimiter = ',', conflicts_with_all = ["tgid", "tgid_list", "all"])]
    pub(super) to_uids: Vec<String>,
    /// To the members of this group
    #[arg(long, value_name = "TGID", conflicts_with_all = ["tgid_list", "all"])]
    pub(super) tgid: Option<String>,
    /// To the members of these groups, to each once
    #[arg(long, value_name = "TGID,TGID", value_delimiter = ',', conflicts_with = "all")]
    pub(super) tgid_list: Vec<String>,
    /// To everybody who is connected
    #[arg(long)]
    pub(super) all: bool,
    /// Not to these users
    #[arg(long, value_name = "UID,UID", value_delimiter = ',')]
    pub(super) except: Vec<String>,
}

/// What.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["data", "raw", "raw_file"])))]
pub(super) struct Body {
    /// JSON; an object unless there is --mol
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(super) data: Option<String>,
    /// Text delivered as it is
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) raw: Option<String>,
    /// A file whose bytes are delivered as they are
    #[arg(long, value_name = "FILE")]
    pub(super) raw_file: Option<PathBuf>,
    /// Delivers {"MOL":data}
    #[arg(long, conflicts_with_all = ["raw", "raw_file"])]
    pub(super) mol: Option<String>,
    /// Delivers {"MOL":{"CTRL":data}}
    #[arg(long, requires = "mol", conflicts_with_all = ["raw", "raw_file"])]
    pub(super) ctrl: Option<String>,
}

/// How.
#[derive(Debug, Args)]
pub(super) struct Policy {
    /// The message's id: a repeat within ten minutes has no effect
    #[arg(long)]
    pub(super) id: Option<String>,
    /// live (default): now or never; latest: only the last one per --key waits for a slow client
    #[arg(long)]
    pub(super) class: Option<String>,
    /// What a later message of class latest replaces
    #[arg(long)]
    pub(super) key: Option<String>,
    /// How long it is worth delivering, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = time::any)]
    pub(super) ttl: Option<Duration>,
    /// Not before this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = time::unix_ms, conflicts_with = "delay")]
    pub(super) at: Option<u64>,
    /// Not before this has passed, such as 10s
    #[arg(long = "in", id = "delay", value_name = "DURATION", value_parser = time::any)]
    pub(super) delay: Option<Duration>,
    /// high, normal (default) or low: which of two targets' messages goes first
    #[arg(long)]
    pub(super) priority: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Kick {
    /// The user
    pub(super) uid: Uid,
    /// What the client is told
    #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Users {
    /// The users, up to 10,000
    #[arg(required = true, value_name = "UID")]
    pub(super) uids: Vec<Uid>,
}

#[derive(Debug, Args)]
pub(super) struct Join {
    #[command(flatten)]
    pub(super) member: Member,
    /// For good, until the user leaves; also a user who is not online
    #[arg(long)]
    pub(super) durable: bool,
}

#[derive(Debug, Args)]
pub(super) struct Member {
    /// The group
    pub(super) tgid: Tgid,
    /// The user
    pub(super) uid: Uid,
}

#[derive(Debug, Args)]
pub(super) struct Top {
    /// How often
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = time::positive)]
    pub(super) every: Duration,
    /// Ends after so many times, and leaves the screen as it is; without it ctrl-c ends it
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Short for --count 1
    #[arg(long, conflicts_with = "count")]
    pub(super) once: bool,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The message's id
    #[arg(value_name = "ID")]
    pub(super) id: MessageId,
    /// Out of this user's mailbox, where it is not acknowledged
    #[arg(long)]
    pub(super) uid: Option<Uid>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).args(["id", "uid"])))]
pub(super) struct Trace {
    /// The message; it had to be sent with a receipt or a sampled traceparent
    #[arg(value_name = "MESSAGE")]
    pub(super) id: Option<MessageId>,
    /// What this user does right now, until ctrl-c: with --etcd on all nodes, else on the one that is asked
    #[arg(long)]
    pub(super) uid: Option<Uid>,
    /// Goes on until the message has its end
    #[arg(long, conflicts_with = "uid")]
    pub(super) follow: bool,
    /// Goes on for no longer than this: with --follow 30s unless it is said, with --uid an hour
    #[arg(long = "for", value_name = "DURATION", value_parser = time::positive)]
    pub(super) limit: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Logged {
    /// Only those after this one
    #[arg(long, value_name = "ENTRY")]
    pub(super) after: Option<EntryId>,
    /// How many at most, up to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The node's name
    #[arg(value_name = "NODE")]
    pub(super) id: NodeId,
}

#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// Shows dead letters, oldest first
    List(List),
    /// Puts dead letters back on the queue, for the targets that failed
    Redrive(Redrive),
    /// Deletes dead letters
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The lane, from 0
    #[arg(long)]
    pub(super) lane: u16,
    /// Only those after this one
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<EntryId>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["id", "all"])))]
pub(super) struct Redrive {
    /// The lane, from 0
    #[arg(long)]
    pub(super) lane: u16,
    /// This one; may be given more than once
    #[arg(long)]
    pub(super) id: Vec<EntryId>,
    /// All of the lane
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["id", "all"])))]
pub(super) struct Purge {
    /// The lane, from 0
    #[arg(long)]
    pub(super) lane: u16,
    /// This one; may be given more than once
    #[arg(long)]
    pub(super) id: Vec<EntryId>,
    /// All of the lane; needs --yes
    #[arg(long, requires = "yes")]
    pub(super) all: bool,
    /// Says that they may go for good
    #[arg(long)]
    pub(super) yes: bool,
}
