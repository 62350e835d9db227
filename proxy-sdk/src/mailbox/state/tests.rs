use bytes::Bytes;
use gim_proto::Class;
use gim_proto::frame::GapReason;

use super::*;
use crate::mailbox::Item;

const NOW_MS: u64 = 1_700_000_000_000;
const NOW_US: u64 = NOW_MS * 1_000;
const ALL: PageBounds = PageBounds { messages: 1_000, bytes: 1 << 30 };

fn bounds() -> MailboxBounds {
    MailboxBounds { messages: 4, bytes: 100, ..MailboxBounds::default() }
}

fn lane(low_water: Option<u64>) -> LaneOrigin {
    LaneOrigin { lane: 1, term: 1, low_water: low_water.map(entry) }
}

fn entry(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

fn message(id: u64, bytes: usize) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::parse(&format!("m{id}")).unwrap(),
        class: Class::Durable,
        key: None,
        payload: Payload::Json(Bytes::from(vec![b'x'; bytes])),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    })
}

/// Message and entry of one number, with so many bytes.
fn append(mailbox: &mut Mailbox, low_water: Option<u64>, n: u64, bytes: usize) -> u64 {
    let message = message(n, bytes);
    mailbox.append(&lane(low_water), entry(n), &message, MsgType::User, NOW_MS, &bounds()).offset
}

fn filled(count: u64) -> Mailbox {
    let mut mailbox = Mailbox::new(NOW_US);
    (1..=count).for_each(|n| assert_eq!(append(&mut mailbox, None, n, 10), n));
    mailbox
}

fn offsets(page: &Page) -> Vec<(u64, u64, Option<GapReason>)> {
    let one = |item: &Item| match item {
        Item::Letter { offset, .. } => (*offset, *offset, None),
        Item::Gap { from, to, reason } => (*from, *to, Some(*reason)),
    };
    page.items.iter().map(one).collect()
}

fn at(offset: u64) -> Position {
    Position { epoch: NOW_US, offset }
}

#[test]
fn a_repeat_keeps_its_number_also_once_acknowledged() {
    let mut mailbox = filled(3);
    assert_eq!(mailbox.ack(Fence(1), at(2)), Acked::Done);
    assert_eq!((1..=3).map(|n| append(&mut mailbox, Some(1), n, 10)).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(mailbox.letters().count(), 1);
}

#[test]
fn messages_of_one_id_are_each_known_by_their_entry_and_lane() {
    let mut mailbox = Mailbox::new(NOW_US);
    let message = message(1, 1);
    let other = LaneOrigin { lane: 2, ..lane(None) };
    let mut append =
        |lane: &LaneOrigin, ms| mailbox.append(lane, entry(ms), &message, MsgType::User, NOW_MS, &bounds()).offset;
    for _ in 0..2 {
        assert_eq!([append(&lane(None), 1), append(&lane(None), 2), append(&other, 1)], [1, 2, 3]);
    }
    mailbox.forget(&lane(Some(2)));
    let known = |lane, ms| Known { id: message.id.clone(), lane, entry: entry(ms) };
    let offsets = [known(1, 1), known(1, 2), known(2, 1)].map(|known| mailbox.offset_of(&known));
    assert_eq!(offsets, [None, Some(2), Some(3)]);
    let told = [Told::Remembered(known(1, 1), 1), Told::Remembered(known(1, 2), 2), Told::Remembered(known(2, 1), 3)];
    let forgotten = [Told::Forgotten(known(1, 1))];
    assert_eq!(mailbox.take_untold(), [told.as_slice(), &forgotten].concat());
}

#[test]
fn ids_are_looked_through_when_there_are_twice_as_many_as_were_left() {
    let few = FEW_IDS as u64;
    let mut mailbox = filled(few);
    append(&mut mailbox, Some(few), few + 1, 1);
    assert_eq!(mailbox.ids.len(), 2, "the one at the low water, and the new one");
    for n in few + 2..few * 2 {
        append(&mut mailbox, Some(n), n, 1);
    }
    assert_eq!(mailbox.ids.len(), FEW_IDS, "as nobody looks");
    append(&mut mailbox, Some(few * 2), few * 2, 1);
    assert_eq!(mailbox.ids.len(), 1);
}

#[test]
fn without_a_low_water_or_below_all_entries_nothing_is_forgotten() {
    let mut mailbox = filled(100);
    append(&mut mailbox, Some(0), 101, 1);
    assert_eq!(mailbox.ids.len(), 101);
    let other = LaneOrigin { lane: 2, ..lane(Some(1_000)) };
    let message = message(102, 1);
    for _ in 0..200 {
        mailbox.append(&other, entry(1_000), &message, MsgType::User, NOW_MS, &bounds());
    }
    assert_eq!(mailbox.ids.len(), 102, "another lane's low water");
}

#[test]
fn bytes_are_those_of_what_is_there() {
    let mut mailbox = filled(4);
    assert_eq!(mailbox.bytes(), 40);
    mailbox.ack(Fence(1), at(1));
    mailbox.cancel(&message(3, 0).id).unwrap();
    assert_eq!(mailbox.bytes(), 20);
    append(&mut mailbox, None, 5, 90);
    assert_eq!((mailbox.bytes(), mailbox.letters().count()), (100, 2), "the oldest went");
    append(&mut mailbox, None, 6, 200);
    assert_eq!((mailbox.bytes(), mailbox.letters().count()), (200, 1), "one stays");
}

#[test]
fn gaps_say_why_and_meet_without_a_seam() {
    let mut mailbox = filled(6);
    mailbox.cancel(&message(3, 0).id).unwrap();
    let page = mailbox.read(0, ALL, NOW_MS, &bounds());
    let (trimmed, expired) = (Some(GapReason::Trimmed), Some(GapReason::Expired));
    assert_eq!(offsets(&page), [(1, 2, trimmed), (3, 3, expired), (4, 4, None), (5, 5, None), (6, 6, None)]);
    let age = MailboxBounds::default().age.as_millis() as u64;
    let page = mailbox.read(0, ALL, NOW_MS + age, &bounds());
    assert_eq!(offsets(&page), [(1, 2, trimmed), (3, 6, expired)]);
    assert_eq!(offsets(&mailbox.read(0, ALL, NOW_MS + age - 1, &bounds())).len(), 5);
    assert!(mailbox.read(u64::MAX, ALL, NOW_MS, &bounds()).items.is_empty());
}

#[test]
fn of_several_with_one_id_the_last_is_taken_back() {
    let mut mailbox = filled(1);
    let again = message(1, 5);
    mailbox.append(&lane(None), entry(9), &again, MsgType::User, NOW_MS, &bounds());
    assert_eq!(mailbox.cancel(&again.id).map(|letter| letter.offset), Some(2));
    assert_eq!(mailbox.cancel(&again.id).map(|letter| letter.offset), Some(1));
    assert!(mailbox.cancel(&again.id).is_none());
}

#[test]
fn the_epoch_rises_only_where_somebody_saw_more() {
    let mut mailbox = filled(3);
    let fresh = Opened { epoch: NOW_US, last: 3, acked: 0, is_reset: false };
    assert_eq!(mailbox.open(Fence(1), Arrival::Anew, NOW_US + 9), fresh);
    assert_eq!(mailbox.open(Fence(1), Arrival::Survives(at(3)), NOW_US + 9), fresh);
    let other = Arrival::Resumes(Position { epoch: 1, offset: 9 });
    assert_eq!(mailbox.open(Fence(1), other, NOW_US + 9), Opened { is_reset: true, ..fresh });
    assert_eq!(
        mailbox.open(Fence(1), Arrival::Survives(at(4)), NOW_US - 9).epoch,
        NOW_US + 1,
        "whatever the clock says"
    );
    let at_new = Position { epoch: NOW_US + 1, offset: 4 };
    assert_eq!(mailbox.open(Fence(1), Arrival::Resumes(at_new), NOW_US + 9).epoch, NOW_US + 9);
}

#[test]
fn a_superseded_session_changes_nothing() {
    let mut mailbox = filled(3);
    mailbox.open(Fence(5), Arrival::Anew, NOW_US);
    assert_eq!(mailbox.ack(Fence(4), at(3)), Acked::Superseded);
    assert_eq!(mailbox.open(Fence(4), Arrival::Resumes(at(3)), NOW_US).acked, 0);
    assert_eq!(mailbox.open(Fence(4), Arrival::Survives(at(9)), NOW_US).epoch, NOW_US);
    assert_eq!(mailbox.open(Fence(5), Arrival::Resumes(at(3)), NOW_US).acked, 3);
}
