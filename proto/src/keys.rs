//! Names of everything kept in Redis and etcd, and the arithmetic that says where a user or a target belongs.
//!
//! Owns the spelling: no other module puts a key together. `{x}` in a key puts it into the slot of the key `x`, so that
//! what one script touches lies in one slot of a Redis Cluster. Never talks to a store.

mod crc;

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::entry::Target;
use crate::ids::{Digits, Incarnation, UlidText};
use crate::names::{MessageId, NameError, NodeId, Tgid, Uid, check_prefix};

pub use crc::{crc16, crc32};

/// Number of slots that a Redis Cluster spreads keys over.
const SLOTS: u16 = 16_384;
/// Number of buckets that user records are spread over.
pub const BUCKETS: u16 = 1024;

/// Spells keys under one configured prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Takes the configured prefix: 1 to 64 of `[A-Za-z0-9._:-]`.
    ///
    /// # Errors
    /// Says what is wrong with the prefix.
    pub fn new(prefix: &str) -> Result<Self, NameError> {
        check_prefix(prefix)?;
        Ok(Self { prefix: Arc::from(prefix) })
    }

    /// Tells the prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Stream: the entries of a lane. Consumer group `gim`, consumer `lane`.
    #[must_use]
    pub fn queue(&self, lane: u16) -> String {
        [&self.prefix, ":queue:", Digits::of(lane).as_str()].concat()
    }

    /// Hash: who reads the lane, under which term.
    #[must_use]
    pub fn lease(&self, lane: u16) -> String {
        self.of_lane(lane, "lease", "")
    }

    /// String: the last term of the lane, whose it was, and which connection read last. Outlives the lease.
    #[must_use]
    pub fn term(&self, lane: u16) -> String {
        self.of_lane(lane, "term", "")
    }

    /// Sorted set: entries of the lane that wait for their time.
    #[must_use]
    pub fn later(&self, lane: u16) -> String {
        self.of_lane(lane, "later", "")
    }

    /// Hash: bodies of the entries in [`later`](Self::later).
    #[must_use]
    pub fn later_body(&self, lane: u16) -> String {
        self.of_lane(lane, "later:body", "")
    }

    /// String: an id seen within the idempotency window of the lane.
    #[must_use]
    pub fn idempotency(&self, lane: u16, id: &MessageId) -> String {
        self.of_lane(lane, "id:", id.as_str())
    }

    /// Stream: dead letters of the lane.
    #[must_use]
    pub fn dead(&self, lane: u16) -> String {
        self.of_lane(lane, "dead", "")
    }

    /// The keys of a user: of several, what they have in common is spelled once.
    #[must_use]
    pub fn user<'a>(&self, uid: &'a Uid) -> UserKeys<'a> {
        UserKeys { bucket: self.bucket(bucket_of(uid)), uid: uid.as_str() }
    }

    /// Hash: records of the users that share this user's bucket.
    #[must_use]
    pub fn user_bucket(&self, uid: &Uid) -> String {
        self.bucket(bucket_of(uid))
    }

    /// Hash: records of the users of a bucket.
    #[must_use]
    pub fn bucket(&self, bucket: u16) -> String {
        self.of_bucket(bucket, "", "")
    }

    /// Set: users of a bucket that an incarnation holds.
    #[must_use]
    pub fn users_at(&self, bucket: u16, incarnation: &Incarnation) -> String {
        self.of_bucket(bucket, ":at:", incarnation.write(&mut UlidText::default()))
    }

    /// List: who of a bucket came and went, until it is written down in [`presence`](Self::presence).
    #[must_use]
    pub fn presence_of(&self, bucket: u16) -> String {
        self.of_bucket(bucket, ":p", "")
    }

    /// Sorted set: users of a bucket that somebody wants receipts of, and when the first of those messages may be over.
    #[must_use]
    pub fn overdue_of(&self, bucket: u16) -> String {
        self.of_bucket(bucket, ":due", "")
    }

    /// Hash: the groups a user is in.
    #[must_use]
    pub fn user_groups(&self, uid: &Uid) -> String {
        self.user(uid).groups()
    }

    /// Stream: the user's durable messages.
    #[must_use]
    pub fn mailbox(&self, uid: &Uid) -> String {
        self.user(uid).mailbox()
    }

    /// Hash: message id to offset, lane and origin entry.
    #[must_use]
    pub fn mailbox_ids(&self, uid: &Uid) -> String {
        self.user(uid).mailbox_ids()
    }

    /// Hash: epoch and cursors of the mailbox.
    #[must_use]
    pub fn mailbox_state(&self, uid: &Uid) -> String {
        self.user(uid).mailbox_state()
    }

    /// Hash: collapse key to the last `latest` value for the user.
    #[must_use]
    pub fn user_latest(&self, uid: &Uid) -> String {
        self.user(uid).latest()
    }

    /// Set: incarnations that hold members of a group.
    #[must_use]
    pub fn group(&self, tgid: &Tgid) -> String {
        [&self.prefix, ":g:", tgid.as_str()].concat()
    }

    /// Set: durable members of a group.
    #[must_use]
    pub fn group_durable(&self, tgid: &Tgid) -> String {
        ["{", &self.prefix, ":g:", tgid.as_str(), "}:durable"].concat()
    }

    /// Hash: collapse key to the last `latest` value for the group.
    #[must_use]
    pub fn group_latest(&self, tgid: &Tgid) -> String {
        ["{", &self.prefix, ":g:", tgid.as_str(), "}:v"].concat()
    }

    /// String: incarnation and addresses of a node, while its lease lasts.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> String {
        [&self.prefix, ":node:", node.as_str()].concat()
    }

    /// Sorted set: the workers that share the lanes, each with the time until which it counts.
    #[must_use]
    pub fn workers(&self) -> String {
        self.plain("workers")
    }

    /// Hash: schema version, number of lanes, runs of nodes (`run:<incarnation>`) and who may be here (`node`).
    #[must_use]
    pub fn meta(&self) -> String {
        self.plain("meta")
    }

    /// String: the process that sweeps what dead runs have left, while it does.
    #[must_use]
    pub fn sweeper(&self) -> String {
        self.plain("sweeper")
    }

    /// Stream: what happened to a message, step by step.
    #[must_use]
    pub fn journey(&self, id: &MessageId) -> String {
        [&self.prefix, ":j:", id.as_str()].concat()
    }

    /// Stream: outcomes of messages that asked for them.
    #[must_use]
    pub fn receipts(&self) -> String {
        self.plain("receipts")
    }

    /// Stream: users that come and go.
    #[must_use]
    pub fn presence(&self) -> String {
        self.plain("presence")
    }

    /// Stream: client commands for business applications.
    #[must_use]
    pub fn upstream(&self) -> String {
        self.plain("upstream")
    }

    /// etcd: one node of the cluster.
    #[must_use]
    pub fn etcd_node(&self, node: &NodeId) -> String {
        ["/", &self.prefix, "/nodes/", node.as_str()].concat()
    }

    /// etcd: what the keys of all nodes begin with.
    #[must_use]
    pub fn etcd_nodes(&self) -> String {
        ["/", &self.prefix, "/nodes/"].concat()
    }

    fn plain(&self, name: &str) -> String {
        [&self.prefix, ":", name].concat()
    }

    fn of_lane(&self, lane: u16, kind: &str, name: &str) -> String {
        ["{", &self.prefix, ":queue:", Digits::of(lane).as_str(), "}:", kind, name].concat()
    }

    fn of_bucket(&self, bucket: u16, kind: &str, name: &str) -> String {
        spelled(["{", &self.prefix, ":u:", Digits::of(bucket).as_str(), "}", kind, name])
    }
}

/// Spells the keys of one user, all in one slot.
#[derive(Debug)]
pub struct UserKeys<'a> {
    bucket: String,
    uid: &'a str,
}

impl UserKeys<'_> {
    /// [`Keys::user_bucket`].
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// [`Keys::users_at`] of the user's bucket, for the text of an incarnation.
    #[must_use]
    pub fn at(&self, incarnation: &str) -> String {
        spelled([&self.bucket, ":at:", incarnation])
    }

    /// [`Keys::user_groups`].
    #[must_use]
    pub fn groups(&self) -> String {
        spelled([&self.bucket, ":g:", self.uid])
    }

    /// [`Keys::mailbox`].
    #[must_use]
    pub fn mailbox(&self) -> String {
        spelled([&self.bucket, ":m:", self.uid])
    }

    /// [`Keys::mailbox_ids`].
    #[must_use]
    pub fn mailbox_ids(&self) -> String {
        spelled([&self.bucket, ":m:", self.uid, ":ids"])
    }

    /// [`Keys::mailbox_state`].
    #[must_use]
    pub fn mailbox_state(&self) -> String {
        spelled([&self.bucket, ":m:", self.uid, ":state"])
    }

    /// [`Keys::user_latest`].
    #[must_use]
    pub fn latest(&self) -> String {
        spelled([&self.bucket, ":v:", self.uid])
    }
}

// A login spells nine keys: by `concat` they took a tenth of it.
fn spelled<const N: usize>(parts: [&str; N]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.into_iter().for_each(|part| key.push_str(part));
    key
}

/// Tells the bucket of a user, 0 to 1023.
#[must_use]
pub fn bucket_of(uid: &Uid) -> u16 {
    crc16(uid.as_str().as_bytes()) % BUCKETS
}

/// Tells the slot of a key in a Redis Cluster, 0 to 16383: that of what stands in its first `{}`, else of all of it.
#[must_use]
pub fn slot_of(key: &str) -> u16 {
    let tagged = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tagged.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// Tells the lane of a target, counted from 0: that of its user, else of its first group. `all`: lane 0.
/// Of several users the first counts; who enqueues splits them by lane beforehand.
#[must_use]
pub fn lane_of(target: &Target, lanes: NonZeroU16) -> u16 {
    let sum = match target {
        Target::User(uid) | Target::GroupUser { uid, .. } | Target::GroupsUser { uid, .. } => of_user(uid),
        Target::Users(uids) => uids.first().map_or(0, of_user),
        Target::Group(tgid) => of_group(tgid),
        Target::Groups(tgids) => tgids.first().map_or(0, of_group),
        Target::All => return 0,
    };
    // The remainder is below `lanes`, which is a u16.
    u16::try_from(sum % u32::from(lanes.get())).unwrap_or(0)
}

fn of_user(uid: &Uid) -> u32 {
    crc::crc32_of(&[b"u:", uid.as_str().as_bytes()])
}

fn of_group(tgid: &Tgid) -> u32 {
    crc::crc32_of(&[b"g:", tgid.as_str().as_bytes()])
}
