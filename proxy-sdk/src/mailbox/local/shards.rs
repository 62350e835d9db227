//! A part of all mailboxes, behind one lock.
//!
//! Owns what the journal has to be told of them, found by looking at a mailbox before and after a change.

use std::borrow::Cow;
use std::collections::HashMap;

use gim_proto::{MessageId, Uid};

use super::super::state::{Blank, Known, Mailbox, Standing, Told};
use super::super::{MailboxBounds, Overdue, Post};
use super::rows;
use crate::delivery::LaneOrigin;
use crate::journal::{Change, Journal, JournalError, Kept, Owed};

/// Bytes that a message costs beside its payload.
pub(super) const BESIDE: usize = 256;
/// When a mailbox was used last is told the journal no more often than this.
const USED_MS: u64 = 60 * 60 * 1_000;

/// See the module.
#[derive(Default)]
pub(super) struct Shard {
    mailboxes: HashMap<Uid, Held>,
    /// Those that never held a message. A mailbox is in one of the two.
    blank: HashMap<Uid, Opened>,
    noted: Vec<Change>,
    owed: Owed,
}

pub(super) struct Held {
    pub(super) mailbox: Mailbox,
    pub(super) used_ms: u64,
    /// The journal was told that it was used then.
    pub(super) told_ms: u64,
}

/// A mailbox of somebody who was here and never got a durable message.
#[derive(Clone, Copy)]
struct Opened {
    blank: Blank,
    used_ms: u64,
    told_ms: u64,
}

/// What of a mailbox is compared.
struct Before {
    /// None: it is new.
    standing: Option<Standing>,
    oldest: Option<u64>,
    weight: usize,
}

impl Shard {
    pub(super) fn get(&self, uid: &Uid) -> Option<Cow<'_, Mailbox>> {
        let held = self.mailboxes.get(uid).map(|held| Cow::Borrowed(&held.mailbox));
        held.or_else(|| self.blank.get(uid).map(|opened| Cow::Owned(opened.blank.into())))
    }

    /// Takes up a mailbox as the journal had it. Returns its weight.
    pub(super) fn restore(&mut self, uid: Uid, held: Held) -> usize {
        let weight = weight(&held.mailbox);
        self.put(uid, held);
        weight
    }

    fn put(&mut self, uid: Uid, held: Held) {
        let Held { used_ms, told_ms, .. } = held;
        match held.mailbox.blank() {
            Some(blank) => drop(self.blank.insert(uid, Opened { blank, used_ms, told_ms })),
            None => drop(self.mailboxes.insert(uid, held)),
        }
    }

    /// Tells whether a message came before.
    pub(super) fn remembers(&self, uid: &Uid, lane: &LaneOrigin, post: &Post) -> bool {
        let known = Known { id: post.message.id.clone(), lane: lane.lane, entry: post.entry };
        self.get(uid).is_some_and(|mailbox| mailbox.offset_of(&known).is_some())
    }

    /// Changes a mailbox, made if missing. Returns by how many bytes all have grown, too.
    pub(super) fn change<T>(
        &mut self,
        uid: &Uid,
        now_us: u64,
        note: bool,
        change: impl FnOnce(&mut Mailbox) -> T,
    ) -> (T, i64) {
        if let Some(held) = self.mailboxes.get_mut(uid) {
            return held.change(uid, false, now_us, note.then_some(&mut self.noted), change);
        }
        let opened = self.blank.get(uid).copied();
        let mut held = opened.map_or_else(|| Held::new(now_us), Held::from);
        let changed = held.change(uid, opened.is_none(), now_us, note.then_some(&mut self.noted), change);
        if held.mailbox.blank().is_none() {
            self.blank.remove(uid);
        }
        self.put(uid.clone(), held);
        changed
    }

    /// Takes a message out that is not acknowledged. Returns its weight.
    pub(super) fn cancel(&mut self, uid: &Uid, id: &MessageId, note: bool) -> Option<usize> {
        let mailbox = &mut self.mailboxes.get_mut(uid)?.mailbox;
        let before = weight(mailbox);
        let letter = mailbox.cancel(id)?;
        let gone = before - weight(mailbox);
        if note {
            self.noted.push(rows::delete_letter(uid, letter.offset));
        }
        Some(gone)
    }

    /// Names what the append of a post has trimmed, if receipts are wanted. Returns how many it does not name.
    pub(super) fn take_trimmed(
        &mut self,
        uid: &Uid,
        lane: &LaneOrigin,
        post: &Post,
        trimmed: &mut Vec<(Uid, MessageId)>,
    ) -> u64 {
        let Some(Held { mailbox, .. }) = self.mailboxes.get_mut(uid) else { return 0 };
        if mailbox.has_trims() {
            let by = Known { id: post.message.id.clone(), lane: lane.lane, entry: post.entry };
            trimmed.extend(mailbox.trimmed_by(&by).iter().map(|id| (uid.clone(), id.clone())));
        }
        mailbox.take_unnamed()
    }

    /// Names messages of which receipts are wanted and whose time is over, at most so many.
    pub(super) fn overdue(&self, now_ms: u64, bounds: &MailboxBounds, most: usize) -> Vec<Overdue> {
        let of = |(uid, held): (&Uid, &Held)| {
            let over = held.mailbox.overdue(now_ms, bounds, most);
            let uid = uid.clone();
            over.into_iter().map(move |(offset, id)| Overdue { uid: uid.clone(), offset, id })
        };
        self.mailboxes.iter().flat_map(of).take(most).collect()
    }

    /// Forgets one of them. Returns its weight.
    pub(super) fn forget_told(&mut self, over: &Overdue, note: bool) -> usize {
        let Some(Held { mailbox, .. }) = self.mailboxes.get_mut(&over.uid) else { return 0 };
        let before = weight(mailbox);
        if mailbox.forget_told(over.offset, &over.id) && note {
            self.noted.push(rows::delete_letter(&over.uid, over.offset));
        }
        before - weight(mailbox)
    }

    /// Submits what was noted. With nothing noted it completes when everything submitted before is kept.
    pub(super) fn submit(&mut self, journal: &dyn Journal) -> Result<Kept, JournalError> {
        let noted = std::mem::take(&mut self.noted);
        self.owed.submit(journal, noted)
    }

    /// Names the mailboxes whose oldest message's time is over.
    pub(super) fn worth_sweeping(&self, now_ms: u64, bounds: &MailboxBounds) -> Vec<Uid> {
        let is_over = |held: &Held| {
            let oldest = held.mailbox.letters().next();
            oldest.is_some_and(|letter| letter.is_over(now_ms, bounds) && !letter.message.receipt)
        };
        self.mailboxes.iter().filter(|(_, held)| is_over(held)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Forgets empty mailboxes that nobody has used since.
    pub(super) fn forget_idle(&mut self, since_ms: u64, note: bool) {
        let is_idle = |held: &Held| held.used_ms < since_ms && held.mailbox.letters().next().is_none();
        for (uid, held) in self.mailboxes.extract_if(|_, held| is_idle(held)) {
            if note {
                self.noted.extend(held.mailbox.ids().map(|(known, _)| rows::delete_id(&uid, known)));
                self.noted.push(rows::delete_standing(&uid));
            }
        }
        for (uid, _) in self.blank.extract_if(|_, opened| opened.used_ms < since_ms) {
            if note {
                self.noted.push(rows::delete_standing(&uid));
            }
        }
        // What a crowd needed is given back once it is gone.
        if self.blank.len() < self.blank.capacity() / 8 {
            self.blank.shrink_to(self.blank.len() * 2);
        }
    }
}

impl Held {
    fn new(now_us: u64) -> Self {
        Self { mailbox: Mailbox::new(now_us), used_ms: 0, told_ms: 0 }
    }

    /// Returns by how many bytes it has grown, too. `noted`: what the journal has to be told.
    fn change<T>(
        &mut self,
        uid: &Uid,
        is_new: bool,
        now_us: u64,
        noted: Option<&mut Vec<Change>>,
        change: impl FnOnce(&mut Mailbox) -> T,
    ) -> (T, i64) {
        let before = Before::of(&self.mailbox, is_new);
        let answer = change(&mut self.mailbox);
        self.used_ms = now_us / 1_000;
        let untold = self.mailbox.take_untold();
        if let Some(noted) = noted {
            before.note(uid, self, noted);
            noted.extend(untold.iter().map(|told| match told {
                Told::Remembered(known, offset) => rows::put_id(uid, known, *offset),
                Told::Forgotten(known) => rows::delete_id(uid, known),
            }));
        }
        let grown =
            i64::try_from(weight(&self.mailbox)).unwrap_or(i64::MAX) - i64::try_from(before.weight).unwrap_or(0);
        (answer, grown)
    }
}

impl From<Opened> for Held {
    fn from(Opened { blank, used_ms, told_ms }: Opened) -> Self {
        Self { mailbox: blank.into(), used_ms, told_ms }
    }
}

impl Before {
    fn of(mailbox: &Mailbox, is_new: bool) -> Self {
        let oldest = mailbox.letters().next().map(|letter| letter.offset);
        Self { standing: (!is_new).then(|| mailbox.standing()), oldest, weight: weight(mailbox) }
    }

    fn note(&self, uid: &Uid, held: &mut Held, noted: &mut Vec<Change>) {
        let (mailbox, standing) = (&held.mailbox, held.mailbox.standing());
        let last = self.standing.map_or(0, |before| before.last);
        for letter in mailbox.letters().rev().take_while(|letter| letter.offset > last) {
            noted.push(rows::put_letter(uid, letter));
        }
        // Messages go from the front. Those in between that went earlier are not there, which does no harm.
        let oldest = mailbox.letters().next().map_or(last + 1, |letter| letter.offset);
        let gone = self.oldest.map_or(0..0, |from| from..oldest);
        noted.extend(gone.map(|offset| rows::delete_letter(uid, offset)));
        if self.standing != Some(standing) || held.used_ms.saturating_sub(held.told_ms) > USED_MS {
            held.told_ms = held.used_ms;
            noted.push(rows::put_standing(uid, &standing, held.used_ms));
        }
    }
}

fn weight(mailbox: &Mailbox) -> usize {
    mailbox.bytes() + BESIDE * mailbox.letters().len()
}
