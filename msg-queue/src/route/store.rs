//! What is stored before anybody is looked up: durable messages in mailboxes, last values for newcomers.
//!
//! Owns the order of the appends: that of the jobs, in pages, so that a group of any size is never copied whole. Every call
//! may be repeated and is preceded by a look whether the lane is still this worker's. Never decides who gets a hint.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gim_proto::frame::MsgType;
use gim_proto::{Class, Tgid, Uid};
use gim_proxy_sdk::mailbox::{Appended, Appends, MailboxErrorKind, Post, Scope, Value};

use super::{Ground, RouteError, Trims};
use crate::lane::{Aim, Job};

/// Users of one call, at most.
const PAGE: usize = 1_000;
/// A round that has stored for so many users is long enough: what is left waits for the next one, behind what is urgent.
const ENOUGH: usize = 20_000;

/// What is stored of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing: it is of another class, or to all.
    Nothing,
    /// What the mailbox of each of its users said, in the order of its legs.
    Users(Vec<Appended>),
    /// Of a message to groups: whether it has a durable member, who has it now.
    Members(bool),
}

impl Stored {
    /// Tells what the mailbox of a job's user said. None: it is of another class.
    pub(super) fn of_user(&self, nth: usize) -> Option<Appended> {
        match self {
            Self::Users(all) => all.get(nth).copied(),
            Self::Nothing | Self::Members(_) => None,
        }
    }
}

/// Stores what has to be stored of these jobs. Returns what became of the first of them, at least one. What came before
/// a failure counts; the others are to be routed another time.
pub(super) async fn store(ground: &Ground<'_>, jobs: &[Job], again: bool) -> Result<(Vec<Stored>, Trims), RouteError> {
    let (stored, trims) = (Vec::with_capacity(jobs.len()), Trims::default());
    let mut book = Book { ground, stored, trims, members: HashMap::new(), page: Page::default() };
    if let Err(error) = book.write(jobs).await {
        book.forget_what_is_not_whole();
        if book.stored.is_empty() {
            return Err(error);
        }
    }
    let (stored, trims) = (book.stored, book.trims);
    if again {
        // It was named the first time.
        return Ok((stored, Trims::default()));
    }
    keep(ground, jobs.iter().take(stored.len())).await?;
    Ok((stored, trims))
}

/// Appends that go in one call.
#[derive(Default)]
struct Page {
    posts: Vec<Post>,
    /// The job of each, as its place in the round.
    jobs: Vec<usize>,
    users: usize,
}

struct Book<'a> {
    ground: &'a Ground<'a>,
    /// Per job looked at.
    stored: Vec<Stored>,
    trims: Trims,
    members: HashMap<&'a [Tgid], Arc<[Uid]>>,
    page: Page,
}

impl<'a> Book<'a> {
    async fn write(&mut self, jobs: &'a [Job]) -> Result<(), RouteError> {
        let mut users = 0;
        for (at, job) in jobs.iter().enumerate() {
            users += self.add(at, job).await?;
            if users >= ENOUGH {
                break;
            }
        }
        self.flush().await
    }

    /// Takes up a job. Returns for how many users it is stored.
    async fn add(&mut self, at: usize, job: &'a Job) -> Result<usize, RouteError> {
        match &job.aim {
            Aim::Users { legs, of } if job.message.class == Class::Durable => {
                self.stored.push(Stored::Users(Vec::with_capacity(legs.len())));
                for page in legs.chunks(PAGE) {
                    let to = page.iter().map(|(_, uid)| uid.clone()).collect();
                    self.post(at, job, MsgType::User, to, of).await?;
                }
                Ok(legs.len())
            }
            // Later ones of the group may have been stored since: who has joined in between must not get it behind them.
            Aim::Groups { tgids, is_first: true, .. } if job.message.class == Class::Durable => {
                let members = self.members(tgids).await;
                self.stored.push(Stored::Members(false));
                let members = members?;
                let except: HashSet<&Uid> = job.message.except.iter().collect();
                for page in members.chunks(PAGE) {
                    let to = page.iter().filter(|uid| !except.contains(uid)).cloned().collect();
                    self.post(at, job, MsgType::Group, to, &[].into()).await?;
                }
                Ok(members.len())
            }
            _ => {
                self.stored.push(Stored::Nothing);
                Ok(0)
            }
        }
    }

    async fn members(&mut self, tgids: &'a [Tgid]) -> Result<Arc<[Uid]>, RouteError> {
        if let Some(members) = self.members.get(tgids) {
            return Ok(Arc::clone(members));
        }
        let members: Arc<[Uid]> = self.ground.directory.durable_members(tgids).await?.into();
        self.members.insert(tgids, Arc::clone(&members));
        Ok(members)
    }

    async fn post(
        &mut self,
        at: usize,
        job: &Job,
        kind: MsgType,
        to: Vec<Uid>,
        of: &Arc<[Tgid]>,
    ) -> Result<(), RouteError> {
        if self.page.users > 0 && self.page.users + to.len() > PAGE {
            self.flush().await?;
        }
        if !to.is_empty() {
            self.page.users += to.len();
            self.page.jobs.push(at);
            let (entry, message) = (job.entry_id, Arc::clone(&job.message));
            self.page.posts.push(Post { entry, message, kind, to, of: Arc::clone(of) });
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RouteError> {
        if self.page.posts.is_empty() {
            return Ok(());
        }
        let Ground { mailboxes, origin, .. } = self.ground;
        self.ground.look()?;
        let Appends { answers, trimmed, untold } = mailboxes.append(origin, &self.page.posts).await?;
        self.trims.named.extend(trimmed);
        self.trims.untold += untold;
        let fits = answers.len() == self.page.posts.len()
            && answers.iter().zip(&self.page.posts).all(|(answers, post)| answers.len() == post.to.len());
        if !fits {
            return Err(RouteError::Mailbox(MailboxErrorKind::Corrupt.into()));
        }
        let Page { jobs, .. } = std::mem::take(&mut self.page);
        for (at, answers) in jobs.into_iter().zip(answers) {
            match self.stored.get_mut(at) {
                Some(Stored::Users(of_job)) => of_job.extend(answers),
                Some(members) => *members = Stored::Members(true),
                None => {}
            }
        }
        Ok(())
    }

    /// After a failure: forgets the jobs that are not stored whole.
    fn forget_what_is_not_whole(&mut self) {
        let whole = self.page.jobs.first().copied().unwrap_or(self.stored.len().saturating_sub(1));
        self.stored.truncate(whole);
    }
}

/// Keeps the last values of the jobs that have one.
async fn keep(ground: &Ground<'_>, jobs: impl Iterator<Item = &Job>) -> Result<(), RouteError> {
    let mut values = Vec::new();
    for job in jobs.filter(|job| job.message.class == Class::Latest) {
        let scopes: Vec<Scope> = match &job.aim {
            // Only for members of a group, it is nothing for whoever comes later.
            Aim::Users { of, .. } if !of.is_empty() => Vec::new(),
            Aim::Users { legs, .. } => legs.iter().map(|(_, uid)| Scope::User(uid.clone())).collect(),
            Aim::Groups { tgids, .. } => tgids.iter().cloned().map(Scope::Group).collect(),
            Aim::All { .. } => Vec::new(),
        };
        for scopes in scopes.chunks(PAGE) {
            let (entry, message) = (job.entry_id, Arc::clone(&job.message));
            values.push(Value { entry, message, scopes: scopes.to_vec() });
        }
    }
    let mut rest = values.as_slice();
    while !rest.is_empty() {
        let mut scopes = 0;
        let fits = rest.iter().take_while(|value| {
            scopes += value.scopes.len();
            scopes <= PAGE
        });
        let (page, others) = rest.split_at(fits.count().max(1).min(rest.len()));
        ground.look()?;
        ground.mailboxes.keep(page).await?;
        rest = others;
    }
    Ok(())
}
