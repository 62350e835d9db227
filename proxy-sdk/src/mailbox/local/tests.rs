//! What of mailboxes is there for the next process, and the bound of all of them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::FutureExt;
use gim_proto::frame::MsgType;
use gim_proto::{Class, EntryId, Payload};
use proptest::prelude::*;

use super::*;
use crate::journal::{Change, JournalErrorKind, Table};
use crate::mailbox::Item;

/// Rows in memory.
#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<(Table, Bytes), Bytes>>,
    is_full: AtomicBool,
}

impl Journal for Memory {
    fn submit(&self, changes: Vec<Change>) -> Kept {
        if self.is_full.load(Ordering::SeqCst) {
            return std::future::ready(Err(JournalErrorKind::Full.into())).boxed();
        }
        let mut rows = self.rows.lock().unwrap();
        for Change { table, key, value } in changes {
            match value {
                Some(value) => drop(rows.insert((table, key), value)),
                None => drop(rows.remove(&(table, key))),
            }
        }
        std::future::ready(Ok(())).boxed()
    }
}

impl Memory {
    fn of(&self, table: Table) -> Vec<(Bytes, Bytes)> {
        let rows = self.rows.lock().unwrap();
        let of_table = rows.iter().filter(|((of, _), _)| *of == table);
        of_table.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn open(self: &Arc<Self>, bounds: MailboxBounds) -> LocalMailboxes {
        let kept = MailRows {
            letters: self.of(Table::Letters),
            mailboxes: self.of(Table::Mailboxes),
            latest: self.of(Table::Latest),
        };
        LocalMailboxes::restored(bounds, Arc::new(|_, _| true), Arc::clone(self) as Arc<dyn Journal>, &kept).unwrap()
    }
}

const ALL: PageBounds = PageBounds { messages: 1_000, bytes: 1 << 20 };

fn uid(name: &str) -> Uid {
    Uid::parse(name).unwrap()
}

fn entry(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

fn message(name: &str, class: Class) -> Message {
    Message {
        id: MessageId::parse(name).unwrap(),
        class,
        key: (class == Class::Latest).then(|| "key".into()),
        payload: Payload::Json(Bytes::from(format!(r#"{{"n":"{name}"}}"#))),
        except: vec![uid("x")],
        expires_ms: None,
        receipt: true,
        traced: false,
    }
}

fn post(ms: u64, to: &[&str]) -> Post {
    let message = Arc::new(message(&format!("m{ms}"), Class::Durable));
    Post {
        entry: entry(ms),
        message,
        kind: MsgType::User,
        to: to.iter().map(|name| uid(name)).collect(),
        of: [].into(),
    }
}

fn lane(low_water: u64) -> LaneOrigin {
    LaneOrigin { lane: 1, term: 1, low_water: Some(entry(low_water)) }
}

/// Everything a reader sees of a mailbox.
async fn seen(mailboxes: &LocalMailboxes, name: &str) -> (Opened, String) {
    let opened = mailboxes.open(&uid(name), Fence(1), Arrival::Anew).await.unwrap();
    let page = mailboxes.read(&uid(name), Position { epoch: opened.epoch, offset: 0 }, ALL).await.unwrap();
    (opened, format!("{:?}", page.items))
}

#[tokio::test]
async fn a_mailbox_is_as_it_was_for_the_next_process() {
    let memory = Arc::new(Memory::default());
    let mailboxes = memory.open(MailboxBounds::default());
    for ms in 1..=5 {
        mailboxes.append(&lane(1), &[post(ms, &["a", "b"])]).await.unwrap();
    }
    let opened = mailboxes.open(&uid("a"), Fence(1), Arrival::Anew).await.unwrap();
    let upto = Position { epoch: opened.epoch, offset: 2 };
    mailboxes.ack(&[Ack { uid: uid("a"), fence: Fence(1), upto }]).await.unwrap();
    assert!(mailboxes.cancel(&uid("a"), &MessageId::parse("m4").unwrap()).await.unwrap());
    let before = (seen(&mailboxes, "a").await, seen(&mailboxes, "b").await);
    assert_eq!((before.0.0.acked, before.0.0.last, before.1.0.acked), (2, 5, 0));

    let next = memory.open(MailboxBounds::default());
    assert_eq!((seen(&next, "a").await, seen(&next, "b").await), before);
    assert_eq!(next.figures(), mailboxes.figures());
    let again = next.append(&lane(1), &[post(2, &["a"]), post(6, &["a"])]).await.unwrap().answers;
    let at = |offset| vec![Appended::Stored(Position { epoch: opened.epoch, offset })];
    assert_eq!(again, [at(2), at(6)], "one that came before keeps its offset, also after it was acknowledged");
}

#[tokio::test]
async fn what_is_acknowledged_and_forgotten_leaves_the_journal() {
    let memory = Arc::new(Memory::default());
    let mailboxes = memory.open(MailboxBounds::default());
    for ms in 1..=1_000 {
        let posts = [post(ms, &["a"])];
        let appended = mailboxes.append(&lane(ms), &posts).await.unwrap().answers;
        let Appended::Stored(upto) = appended[0][0] else { panic!("{appended:?}") };
        mailboxes.ack(&[Ack { uid: uid("a"), fence: Fence(1), upto }]).await.unwrap();
    }
    assert_eq!(memory.of(Table::Letters).len(), 0);
    assert!(memory.of(Table::Mailboxes).len() < 200, "{}", memory.of(Table::Mailboxes).len());
    assert_eq!(mailboxes.figures().bytes, 0);
}

#[tokio::test]
async fn all_mailboxes_together_have_a_bound() {
    let mailboxes = LocalMailboxes::new(MailboxBounds::default(), Arc::new(|_, _| true)).within(1_000);
    for ms in 1..=4 {
        mailboxes.append(&lane(1), &[post(ms, &["a"])]).await.unwrap();
    }
    let error = mailboxes.append(&lane(1), &[post(5, &["b"])]).await.unwrap_err();
    assert_eq!(error.kind, MailboxErrorKind::Unavailable);
    assert_eq!(mailboxes.figures().refused, 1);
    mailboxes.append(&lane(1), &[post(4, &["a"])]).await.unwrap();
    let opened = mailboxes.open(&uid("a"), Fence(1), Arrival::Anew).await.unwrap();
    let upto = Position { epoch: opened.epoch, offset: 4 };
    mailboxes.ack(&[Ack { uid: uid("a"), fence: Fence(1), upto }]).await.unwrap();
    mailboxes.append(&lane(1), &[post(5, &["b"])]).await.unwrap();
}

#[tokio::test]
async fn what_the_journal_had_no_room_for_is_told_it_with_the_repeat() {
    let memory = Arc::new(Memory::default());
    let mailboxes = memory.open(MailboxBounds::default());
    memory.is_full.store(true, Ordering::SeqCst);
    let posts = [post(1, &["a"])];
    let error = mailboxes.append(&lane(1), &posts).await.unwrap_err();
    assert_eq!(error.kind, MailboxErrorKind::Unavailable);
    assert_eq!(memory.of(Table::Letters).len(), 0);
    memory.is_full.store(false, Ordering::SeqCst);
    mailboxes.append(&lane(1), &posts).await.unwrap();
    assert_eq!(memory.of(Table::Letters).len(), 1);
}

#[tokio::test]
async fn last_values_survive_and_the_highest_entry_counts() {
    let memory = Arc::new(Memory::default());
    let mailboxes = memory.open(MailboxBounds::default());
    let now_ms = now_us() / 1_000;
    let scopes = vec![Scope::User(uid("a")), Scope::Group(Tgid::parse("g").unwrap())];
    let value = |ms, name: &str| Value {
        entry: entry(ms),
        message: Arc::new(message(name, Class::Latest)),
        scopes: scopes.clone(),
    };
    mailboxes.keep(&[value(now_ms, "new"), value(now_ms - 1, "late")]).await.unwrap();
    let next = memory.open(MailboxBounds::default());
    for scope in &scopes {
        let kept = next.kept(scope).await.unwrap();
        assert_eq!(kept.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["new"]);
    }
    next.keep(&[value(now_ms - 1, "late")]).await.unwrap();
    assert_eq!(next.kept(&scopes[0]).await.unwrap()[0].id.as_str(), "new");
}

#[tokio::test]
async fn what_has_passed_its_time_is_swept_from_memory_and_journal() {
    let memory = Arc::new(Memory::default());
    let bounds = MailboxBounds { age: std::time::Duration::ZERO, ..MailboxBounds::default() };
    let mailboxes = memory.open(bounds);
    mailboxes.append(&lane(1), &[post(1, &["a", "b"])]).await.unwrap();
    let value =
        Value { entry: entry(1), message: Arc::new(message("v", Class::Latest)), scopes: vec![Scope::User(uid("a"))] };
    mailboxes.keep(&[value]).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..=SHARDS {
        told = mailboxes.sweep(&told).await.unwrap();
    }
    mailboxes.sweep(&told).await.unwrap();
    assert_eq!((memory.of(Table::Letters).len(), memory.of(Table::Latest).len()), (0, 0));
    assert_eq!(mailboxes.figures().bytes, 0);
    let page = mailboxes.read(&uid("a"), Position::default(), ALL).await.unwrap();
    assert!(matches!(page.items[..], [Item::Gap { from: 1, to: 1, .. }]), "{page:?}");
    // As if a day had passed.
    mailboxes.shards.iter().for_each(|shard| lock(shard).forget_idle(u64::MAX, true));
    mailboxes.keep_shards(0..SHARDS).await.unwrap();
    assert!(memory.rows.lock().unwrap().is_empty());
}

#[tokio::test]
async fn much_that_has_passed_its_time_goes_a_thousand_at_a_time_whoever_has_it() {
    const MANY: u64 = 3_000;
    let bounds = MailboxBounds { age: std::time::Duration::ZERO, messages: 5_000, ..MailboxBounds::default() };
    let names: Vec<String> = (0..500).map(|number| format!("u{number}")).collect();
    for users in [&names[..1], &names[..]] {
        let memory = Arc::new(Memory::default());
        let mailboxes = memory.open(bounds);
        let of = |n: u64| post(n, &[users[usize::try_from(n).unwrap() % users.len()].as_str()]);
        mailboxes.append(&lane(1), &(1..=MANY).map(of).collect::<Vec<_>>()).await.unwrap();
        // At first somebody has to be found.
        let mut told = Vec::new();
        let mut rounds = 0;
        while told.is_empty() && rounds <= SHARDS {
            told = mailboxes.sweep(&told).await.unwrap();
            rounds += 1;
        }
        rounds = 0;
        while !told.is_empty() {
            told = mailboxes.sweep(&told).await.unwrap();
            assert!(told.len() <= MOST_SWEPT, "{}", told.len());
            rounds += 1;
        }
        let gone = MANY as usize - memory.of(Table::Letters).len();
        assert_eq!((gone, mailboxes.figures().bytes), (MANY as usize, 0), "in {rounds} calls");
        // 3,000 of one user, or about 50 in each of the shards.
        assert!(rounds <= if users.len() == 1 { 4 } else { SHARDS.div_ceil(SWEPT_AT_ONCE) + 2 }, "{rounds}");
    }
}

#[tokio::test]
async fn what_was_told_leaves_the_journal_also_when_that_had_no_room_at_first() {
    let memory = Arc::new(Memory::default());
    let bounds = MailboxBounds { age: std::time::Duration::ZERO, ..MailboxBounds::default() };
    let mailboxes = memory.open(bounds);
    mailboxes.append(&lane(1), &[post(1, &["a"]), post(2, &["a"])]).await.unwrap();
    let mut named = Vec::new();
    while named.is_empty() {
        named = mailboxes.sweep(&[]).await.unwrap();
    }
    assert_eq!(named.len(), 2);
    memory.is_full.store(true, Ordering::SeqCst);
    assert_eq!(mailboxes.sweep(&named).await.unwrap_err().kind, MailboxErrorKind::Unavailable);
    assert_eq!(memory.of(Table::Letters).len(), 2, "the next process would name them again");
    memory.is_full.store(false, Ordering::SeqCst);
    mailboxes.sweep(&named).await.unwrap();
    assert_eq!((memory.of(Table::Letters).len(), mailboxes.figures().bytes), (0, 0));
}

#[tokio::test]
async fn while_nothing_can_be_told_what_is_overdue_elsewhere_is_named_all_the_same() {
    let memory = Arc::new(Memory::default());
    let bounds = MailboxBounds { age: std::time::Duration::ZERO, messages: 5_000, ..MailboxBounds::default() };
    let mailboxes = memory.open(bounds);
    let many: Vec<Post> = (1..=1_500).map(|n| post(n, &["a"])).collect();
    mailboxes.append(&lane(1), &many).await.unwrap();
    mailboxes.append(&lane(1), &[post(1_501, &["b"])]).await.unwrap();
    let mut named = BTreeSet::new();
    for _ in 0..=SHARDS {
        named.extend(mailboxes.sweep(&[]).await.unwrap().into_iter().map(|over| over.uid));
    }
    assert_eq!(named, BTreeSet::from([uid("a"), uid("b")]));
    assert_eq!(memory.of(Table::Letters).len(), 1_501, "and nothing has gone untold");
}

#[derive(Clone, Debug)]
enum Step {
    Append { user: u8, lane: u16, ms: u64, id: u64 },
    Ack { user: u8, offset: u64 },
    Cancel { user: u8, ms: u64 },
    Open { user: u8, offset: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..2_u8;
    prop_oneof![
        4 => (user.clone(), 1..3_u16, 1..60_u64, prop_oneof![Just(None), (1..4_u64).prop_map(Some)]).prop_map(
            |(user, lane, ms, id)| Step::Append { user, lane, ms, id: id.unwrap_or(ms) }
        ),
        1 => (user.clone(), 0..40_u64).prop_map(|(user, offset)| Step::Ack { user, offset }),
        1 => (user.clone(), 1..60_u64).prop_map(|(user, ms)| Step::Cancel { user, ms }),
        1 => (user, 0..90_u64).prop_map(|(user, offset)| Step::Open { user, offset }),
    ]
}

async fn take(mailboxes: &LocalMailboxes, step: &Step) {
    let name = |user: &u8| uid(["a", "b"][usize::from(*user)]);
    match step {
        Step::Append { user, lane: of, ms, id } => {
            let post = Post { entry: entry(*ms), to: vec![name(user)], ..post(*id, &[]) };
            let origin = LaneOrigin { lane: *of, ..lane(ms.saturating_sub(20)) };
            mailboxes.append(&origin, &[post]).await.unwrap();
        }
        Step::Ack { user, offset } => {
            let epoch = mailboxes.open(&name(user), Fence(1), Arrival::Anew).await.unwrap().epoch;
            let upto = Position { epoch, offset: *offset };
            mailboxes.ack(&[Ack { uid: name(user), fence: Fence(1), upto }]).await.unwrap();
        }
        Step::Cancel { user, ms } => {
            let id = MessageId::parse(&format!("m{ms}")).unwrap();
            mailboxes.cancel(&name(user), &id).await.unwrap();
        }
        Step::Open { user, offset } => {
            let epoch = mailboxes.open(&name(user), Fence(1), Arrival::Anew).await.unwrap().epoch;
            let arrival = Arrival::Resumes(Position { epoch, offset: *offset });
            mailboxes.open(&name(user), Fence(1), arrival).await.unwrap();
        }
    }
}

proptest! {
    /// After every step the next process would find the same.
    #[test]
    fn what_is_kept_is_what_is_in_memory(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = Arc::new(Memory::default());
            let bounds = MailboxBounds { messages: 8, bytes: 200, ..MailboxBounds::default() };
            let mailboxes = memory.open(bounds);
            for step in &steps {
                take(&mailboxes, step).await;
                let next = memory.open(bounds);
                for name in ["a", "b"] {
                    let known = |of: &LocalMailboxes| {
                        let shard = of.of(&uid(name));
                        shard.get(&uid(name)).map(|mailbox| {
                            let mut ids: Vec<_> =
                                mailbox.ids().map(|(known, offset)| (known.clone(), offset)).collect();
                            ids.sort_unstable();
                            let letters: Vec<_> = mailbox.letters().map(|letter| format!("{letter:?}")).collect();
                            (mailbox.standing(), letters, ids)
                        })
                    };
                    assert_eq!(known(&next), known(&mailboxes), "{name} after {step:?}");
                }
                assert_eq!(next.figures().bytes, mailboxes.figures().bytes);
            }
        });
    }
}
