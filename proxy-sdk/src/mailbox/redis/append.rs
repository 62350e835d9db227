//! Appending: from messages with their users to calls with the messages of some users of one bucket each.
//!
//! Owns the split. Calls of one bucket follow each other, so that each mailbox gets its messages in order; buckets go side
//! by side. A message that many users of a bucket get goes there once.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use ::fred::types::Value as Answer;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gim_proto::{MessageId, Tgid, Uid, bucket_of};

use super::form::{bytes, flags};
use super::script::APPEND;
use super::{MailboxErrorKind, RedisMailboxes};
use crate::delivery::LaneOrigin;
use crate::mailbox::state::FEW_IDS;
use crate::mailbox::{Appended, Appends, MOST_TOLD, MailboxError, Position, Post};

/// Messages appended by one call, counted per mailbox: about 3 ms of Redis' time.
const MOST: usize = 256;
/// Bytes of payload in one call, unless one message alone has more.
const MOST_BYTES: usize = 1 << 20;
/// Buckets worked on side by side.
const AT_ONCE: usize = 64;

/// One message for one user: the post, and which of its users it is.
type At = (usize, usize);

/// What goes in one call.
#[derive(Default)]
struct Load<'a> {
    /// Posts, in the order in which the call lists them.
    posts: Vec<usize>,
    listed: HashMap<usize, usize>,
    bytes: usize,
    count: usize,
    users: Vec<(&'a Uid, Vec<At>)>,
}

/// What the calls of one bucket came to.
#[derive(Default)]
struct OfBucket {
    appended: Vec<(At, Appended)>,
    trimmed: Vec<(Uid, MessageId)>,
    untold: u64,
}

impl<'a> Load<'a> {
    /// Whether there is no room for another message of so many bytes.
    fn is_full(&self, post: usize, bytes: usize) -> bool {
        let more = if self.listed.contains_key(&post) { 0 } else { bytes };
        self.count >= MOST || (more > 0 && self.bytes > 0 && self.bytes + more > MOST_BYTES)
    }

    fn add(&mut self, uid: &'a Uid, at: At, bytes: usize) {
        if !self.listed.contains_key(&at.0) {
            self.posts.push(at.0);
            self.listed.insert(at.0, self.posts.len());
            self.bytes += bytes;
        }
        match self.users.last_mut() {
            Some((last, places)) if *last == uid => places.push(at),
            _ => self.users.push((uid, vec![at])),
        }
        self.count += 1;
    }
}

impl RedisMailboxes {
    pub(super) async fn append_all(&self, lane: &LaneOrigin, posts: &[Post]) -> Result<Appends, MailboxError> {
        let answers = posts.iter().map(|post| vec![Appended::NotMember; post.to.len()]).collect();
        let mut appends = Appends { answers, ..Appends::default() };
        let buckets: Vec<_> = split(posts).into_values().map(|loads| self.append_loads(lane, posts, loads)).collect();
        let mut appended = stream::iter(buckets).buffer_unordered(AT_ONCE);
        while let Some(of_bucket) = appended.try_next().await? {
            appends.trimmed.extend(of_bucket.trimmed);
            appends.untold += of_bucket.untold;
            for ((post, to), one) in of_bucket.appended {
                if let Some(answer) = appends.answers.get_mut(post).and_then(|of_post| of_post.get_mut(to)) {
                    *answer = one;
                }
            }
        }
        Ok(appends)
    }

    async fn append_loads(
        &self,
        lane: &LaneOrigin,
        posts: &[Post],
        loads: Vec<Load<'_>>,
    ) -> Result<OfBucket, MailboxError> {
        let mut of_bucket = OfBucket::default();
        for load in loads {
            let bucket = load.users.first().map_or(0, |(uid, _)| bucket_of(uid));
            let of_users = load.users.iter().flat_map(|(uid, _)| self.keys_to_append(uid));
            let keys: Vec<String> = std::iter::once(self.keys.overdue_of(bucket)).chain(of_users).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let args = self.args(lane, posts, &load);
            let answer: Answer = self.calls.script(&APPEND, &keys, &args, self.calls.give_up()).await?;
            self.read_answer(answer, load, &mut of_bucket).ok_or(MailboxErrorKind::Corrupt)?;
        }
        Ok(of_bucket)
    }

    fn keys_to_append(&self, uid: &Uid) -> [String; 4] {
        let [stream, ids, state] = self.keys_of(uid);
        [stream, ids, state, self.keys.user_groups(uid)]
    }

    fn args(&self, lane: &LaneOrigin, posts: &[Post], load: &Load<'_>) -> Vec<Answer> {
        let (low_ms, low_seq) = lane.low_water.map(|low| (low.ms.to_string(), low.seq.to_string())).unwrap_or_default();
        let text = |text: String| Answer::from(text);
        let mut args: Vec<Answer> = [
            lane.lane.to_string(),
            low_ms,
            low_seq,
            self.bounds.messages.to_string(),
            self.bounds.bytes.to_string(),
            self.kept_ms.clone(),
            FEW_IDS.to_string(),
            lane.term.to_string(),
            self.age_ms(),
            MOST_TOLD.to_string(),
            load.posts.len().to_string(),
        ]
        .map(text)
        .into();
        for post in load.posts.iter().filter_map(|post| posts.get(*post)) {
            let Post { entry, message, kind, of, .. } = post;
            args.extend([message.id.to_string(), entry.to_string(), (*kind as u8).to_string()].map(text));
            args.extend([message.expires_ms.unwrap_or_default().to_string(), flags(message).to_string()].map(text));
            args.push(Answer::Bytes(bytes(message).clone()));
            args.push(text(of.iter().map(Tgid::as_str).collect::<Vec<_>>().join(" ")));
        }
        for (_, places) in &load.users {
            let listed = places.iter().filter_map(|(post, _)| load.listed.get(post)).map(ToString::to_string);
            args.push(text(listed.collect::<Vec<_>>().join(" ")));
        }
        args
    }

    fn read_answer(&self, answer: Answer, load: Load<'_>, of_bucket: &mut OfBucket) -> Option<()> {
        let mut answers = answer.into_array().into_iter();
        self.trimmed.fetch_add(answers.next()?.as_u64()?, Ordering::Relaxed);
        of_bucket.untold += answers.next()?.as_u64()?;
        for (uid, places) in load.users {
            let mut offsets = answers.next()?.into_array().into_iter();
            let epoch = offsets.next()?.as_u64()?;
            for at in places {
                of_bucket.appended.push((
                    at,
                    match offsets.next()?.as_u64()? {
                        0 => Appended::NotMember,
                        offset => Appended::Stored(Position { epoch, offset }),
                    },
                ));
            }
            for ids in offsets {
                for id in ids.into_string()?.split(' ') {
                    of_bucket.trimmed.push((uid.clone(), MessageId::parse(id).ok()?));
                }
            }
        }
        Some(())
    }
}

/// By bucket, there by user, there in order.
fn split(posts: &[Post]) -> BTreeMap<u16, Vec<Load<'_>>> {
    let mut users: BTreeMap<(u16, &Uid), Vec<At>> = BTreeMap::new();
    for (at, post) in posts.iter().enumerate() {
        for (to, uid) in post.to.iter().enumerate() {
            users.entry((bucket_of(uid), uid)).or_default().push((at, to));
        }
    }
    let mut buckets: BTreeMap<u16, Vec<Load<'_>>> = BTreeMap::new();
    for ((bucket, uid), places) in users {
        let loads = buckets.entry(bucket).or_insert_with(|| vec![Load::default()]);
        for at in places {
            let size = posts.get(at.0).map_or(0, |post| bytes(&post.message).len());
            if loads.last().is_none_or(|load| load.is_full(at.0, size)) {
                loads.push(Load::default());
            }
            if let Some(load) = loads.last_mut() {
                load.add(uid, at, size);
            }
        }
    }
    buckets
}
