//! What reads a mailbox for a session that is behind: after a login, when hints came out of turn, after a slow client.
//!
//! Owns the reading. There is one task per session that is behind and whose outbox is empty; a client that does not take
//! a page costs that page and no task, until it has taken it. Goes on while the store is away, ends with the session.

use std::time::Duration;

use gim_proto::frame::GapReason;
use gim_proxy_sdk::mailbox::{Arrival, Item, MailboxError, Opened, Page, PageBounds, Position};
use tokio::time::sleep;

use super::Session;
use super::cursor::{Asked, Cursor, Doubt};
use super::letter::{Frame, Letter};
use super::marks::Mark;
use crate::session::outbox::FAIR;

/// What is handed at once.
const PAGE: PageBounds = PageBounds { messages: 100, bytes: 256 * 1024 };
/// Pause after the first try the store did not answer, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The highest number there is on the wire.
const BEYOND: u64 = (1 << 53) - 1;

/// What the store is asked next.
#[derive(Clone, Copy, Debug)]
struct Question {
    at: Position,
    doubt: Doubt,
    asked: Asked,
}

/// One piece of a page, in the form this session gets.
enum Piece {
    Letter(u64, Letter),
    Gap { to: u64, notice: Option<Vec<u8>> },
}

impl Session {
    /// Starts reading if the session is behind and its outbox would take something.
    pub(super) fn wake_pump(&self, cursor: &mut Cursor) {
        cursor.count_behind(&self.0.core.metrics.sessions_behind);
        if cursor.is_behind() && !cursor.is_pumping && self.0.outbox.takes_at_once() {
            cursor.is_pumping = true;
            // Boxed: the task is as large as its largest state, and most of its life is short.
            self.0.core.runtime.spawn(Box::pin(pump(self.clone())));
        }
    }

    /// None: there is nothing to read, or nobody to take it, and the pump has ended.
    fn next_question(&self) -> Option<Question> {
        let mut stand = self.stand();
        let Some(cursor) = &mut stand.cursor else { return None };
        self.settle(cursor);
        if !cursor.is_behind() || !self.0.outbox.takes_at_once() {
            cursor.is_pumping = false;
            return None;
        }
        Some(Question { at: cursor.position(), doubt: cursor.in_doubt(), asked: cursor.asked() })
    }

    async fn ask(&self, question: Question) -> Result<(), MailboxError> {
        let core = &self.0.core;
        // So that thousands who come back at once do not hold a page each before their sockets have taken one.
        let _turn = core.page_turns.acquire().await;
        let at = match question.doubt {
            Doubt::None => {
                let page = core.mailboxes.read(self.uid(), question.at, self.page_bounds()).await?;
                core.metrics.replay_pages.increment(1);
                self.take_page(question, page);
                return Ok(());
            }
            Doubt::Asks => question.at,
            // No mailbox gets so far: a new epoch begins, and everything unacknowledged comes again.
            Doubt::Lost => Position { offset: BEYOND, ..question.at },
        };
        let opened = self.open_mailbox(Arrival::Survives(at)).await?;
        self.reopened(question, opened);
        Ok(())
    }

    fn page_bounds(&self) -> PageBounds {
        let bytes = self.0.core.settings.outbox.total.allow(PAGE.bytes);
        if bytes < PAGE.bytes { PageBounds { messages: PAGE.messages, bytes: FAIR } } else { PAGE }
    }

    fn take_page(&self, question: Question, page: Page) {
        let mut stand = self.stand();
        let Some(cursor) = &mut stand.cursor else { return };
        if page.epoch != question.at.epoch {
            return cursor.doubt();
        }
        let pieces: Vec<Piece> = page.items.into_iter().map(|item| self.piece(item)).collect();
        if pieces.is_empty() {
            // Everything there is was acknowledged. What is known beyond it, the mailbox does not have any more.
            cursor.hand(page.last, None);
            if cursor.known > page.last && cursor.known == question.asked.known {
                cursor.doubt();
            }
            return;
        }
        let mut over = page.over.into_iter().peekable();
        for piece in &pieces {
            match piece {
                Piece::Letter(offset, letter) => {
                    cursor.hand(*offset, Some(letter.print));
                    self.mark(cursor, *offset, letter);
                }
                Piece::Gap { to, .. } => {
                    cursor.hand(*to, None);
                    while let Some((offset, id)) = over.next_if(|(offset, _)| offset <= to) {
                        self.add_mark(cursor, Mark::over(offset, id));
                    }
                }
            }
        }
        cursor.known = cursor.known.max(page.last);
        self.offer_frames(pieces.iter().filter_map(|piece| match piece {
            Piece::Letter(offset, letter) => Some(Frame::Letter(*offset, letter)),
            Piece::Gap { notice, .. } => notice.as_deref().map(Frame::Notice),
        }));
    }

    fn piece(&self, item: Item) -> Piece {
        match item {
            Item::Letter { offset, kind, message } => Piece::Letter(offset, Letter::for_one(&message, kind)),
            Item::Gap { from, to, reason } => Piece::Gap { to, notice: self.gap(from, to, reason, None) },
        }
    }

    fn reopened(&self, question: Question, opened: Opened) {
        let mut stand = self.stand();
        let Some(cursor) = &mut stand.cursor else { return };
        if cursor.reopened(&opened, question.asked) {
            tracing::warn!(uid = %self.uid(), epoch = opened.epoch, "a mailbox began anew; what is unacknowledged comes again");
            let notice = self.gap(opened.acked + 1, opened.last, GapReason::Reset, Some(opened.epoch));
            self.offer_frames(notice.iter().map(|notice| Frame::Notice(notice)));
        }
    }
}

/// Reads until the session is not behind any more, or has something to write first.
async fn pump(session: Session) {
    let mut pause = FIRST_PAUSE;
    while let Some(question) = session.next_question() {
        match session.ask(question).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                session.0.core.metrics.mailbox_retried(session.uid(), &error);
                sleep(session.spread(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
