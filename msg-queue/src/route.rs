//! Where messages go: from targets to nodes, resolved at delivery time, a whole round at once.
//!
//! Owns the step from [`Job`]s to deliveries per node. Stores first what is to be stored (`store`), then asks the directory
//! once for all users of a round, once per list of groups and once for all nodes: whoever is looked up after the append
//! either is found, or finds the message when it opens its mailbox. Never delivers, and decides nothing about failures.

mod store;

use std::sync::Arc;

use futures_util::future::try_join_all;
use gim_proto::{EntryId, Incarnation, MessageId, Tgid, Uid};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Addressed, Delivery, LaneOrigin, Recipients, Sessions};
use gim_proxy_sdk::directory::{Directory, DirectoryError, Freshness, NodeRef, Owner};
use gim_proxy_sdk::mailbox::{Appended, MailboxError, Mailboxes, Position};
use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use self::store::{Stored, store};
use crate::lane::{Aim, Job, LegId};
use crate::source::Source;

/// What a round is routed on.
pub struct Ground<'a> {
    /// Who is where.
    pub directory: &'a dyn Directory,
    /// Where durable messages and last values are kept.
    pub mailboxes: &'a dyn Mailboxes,
    /// The lane, looked at before anything is stored.
    pub source: &'a dyn Source,
    /// What the lane says of itself.
    pub origin: LaneOrigin,
}

/// Why nothing of a round was routed. Some of it may be stored: that may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// It could not be looked up.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It could not be stored.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// The lane may be somebody else's.
    #[error("the lane may be somebody else's")]
    NotOwned,
}

impl Ground<'_> {
    fn look(&self) -> Result<(), RouteError> {
        if self.source.is_owned() { Ok(()) } else { Err(RouteError::NotOwned) }
    }
}

/// Messages of which receipts are wanted and that a round has sent out of full mailboxes.
#[derive(Debug, Default)]
pub struct Trims {
    /// Whose mailbox, and the message. Told before anything of the round is settled.
    pub named: Vec<(Uid, MessageId)>,
    /// And how many more.
    pub untold: u64,
}

/// Where the messages of a round go.
#[derive(Debug, Default)]
pub struct Routed {
    /// How many of the jobs, from the first, are routed. The others wait for another round.
    pub covers: usize,
    /// Legs that have their outcome already: their user is not connected, or has it stored, or is no member.
    pub done: Vec<(LegId, Outcome)>,
    /// Durable messages that are followed: what is in the mailbox of which user, and at which number.
    pub stored: Vec<(MessageId, Uid, Position)>,
    /// What went to make room for them.
    pub trims: Trims,
    /// Durable messages to groups that a member has in its mailbox.
    pub members_have: Vec<EntryId>,
    /// Messages to groups or to all, and the nodes each goes to.
    pub fans: Vec<(EntryId, Vec<Incarnation>)>,
    /// What each node gets, in order.
    pub nodes: Vec<(NodeRef, Parcels)>,
}

/// Deliveries to one node, in order, and whom each is for in the lane: as many of the one as of the other.
#[derive(Debug, Default)]
pub struct Parcels {
    /// What the node gets.
    pub deliveries: Vec<Delivery>,
    /// Whom its reports are about: one of each delivery.
    pub receipts: Vec<Receipt>,
}

/// Whom the report on a delivery is about.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The message's entry.
    pub entry_id: EntryId,
    /// It was looked up again already.
    pub again: bool,
    /// Its legs.
    pub legs: ReceiptLegs,
}

/// Legs a report is about.
#[derive(Clone, Debug)]
pub enum ReceiptLegs {
    /// Users, in the order in which they are addressed.
    Users {
        /// The legs.
        legs: SmallVec<[u32; 2]>,
        /// Only if a member of one of these groups. Empty: no such condition.
        of: Arc<[Tgid]>,
    },
    /// The node's leg of a message to groups or to all.
    Fan,
}

impl Parcels {
    fn with_capacity(parcels: usize) -> Self {
        Self { deliveries: Vec::with_capacity(parcels), receipts: Vec::with_capacity(parcels) }
    }

    /// Tells whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }

    /// Counts them.
    pub(crate) const fn len(&self) -> usize {
        self.receipts.len()
    }

    /// Puts others behind them.
    pub(crate) fn append(&mut self, others: Self) {
        self.deliveries.extend(others.deliveries);
        self.receipts.extend(others.receipts);
    }

    /// Takes out all but the first of them.
    pub(crate) fn split_off(&mut self, first: usize) -> Self {
        Self { deliveries: self.deliveries.split_off(first), receipts: self.receipts.split_off(first) }
    }

    /// Goes through them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Delivery, &Receipt)> {
        self.deliveries.iter().zip(&self.receipts)
    }

    /// Keeps some of them.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&Receipt) -> bool) {
        let all = std::mem::take(&mut self.deliveries).into_iter().zip(std::mem::take(&mut self.receipts));
        (self.deliveries, self.receipts) = all.filter(|(_, receipt)| is_kept(receipt)).unzip();
    }
}

impl Receipt {
    /// Tells whether it is about a message to groups or to all.
    pub(crate) fn is_fan(&self) -> bool {
        matches!(self.legs, ReceiptLegs::Fan)
    }
}

/// Finds out where messages go; `again`: after a node did not hold the session it was named for.
///
/// # Errors
/// Those of directory and mailboxes. Nothing was routed then.
pub async fn route(ground: &Ground<'_>, jobs: &[Job], again: bool) -> Result<Routed, RouteError> {
    let (stored, trims) = store(ground, jobs, again).await?;
    let jobs = jobs.get(..stored.len()).unwrap_or(jobs);
    let directory = ground.directory;
    let owners = Owners::look_up(directory, jobs, again).await?;
    let mut users = 0;
    let holders = holders(directory, jobs).await?;
    let everywhere = match jobs.iter().any(|job| matches!(job.aim, Aim::All { .. })) {
        true => directory.nodes().await?,
        false => Vec::new(),
    };
    let routed = Routed { covers: jobs.len(), trims, ..Routed::default() };
    let mut plan = Plan { routed, places: HashMap::new(), jobs: jobs.len(), again };
    for (job, stored) in jobs.iter().zip(&stored) {
        match &job.aim {
            Aim::Users { legs, of } => {
                plan.users(job, legs, of, owners.from(users), stored);
                users += legs.len();
            }
            Aim::Groups { tgids, but, .. } => {
                if *stored == Stored::Members(true) {
                    plan.routed.members_have.push(job.entry_id);
                }
                let nodes = holders.get(&**tgids).map_or(&[][..], Vec::as_slice);
                plan.fan(job, nodes, but, || Recipients::Groups(tgids.to_vec()));
            }
            Aim::All { but } => plan.fan(job, &everywhere, but, || Recipients::All),
        }
    }
    Ok(plan.routed)
}

/// The owners of a round's users. All messages of a round for one user go to the same: to two, a later one might be there
/// first.
struct Owners {
    /// Per leg of a user, in the order of the jobs: whose it is.
    legs: Vec<u32>,
    owners: Vec<Option<Owner>>,
}

impl Owners {
    async fn look_up(directory: &dyn Directory, jobs: &[Job], again: bool) -> Result<Self, DirectoryError> {
        let mut known: HashMap<&Uid, u32> = HashMap::with_capacity(jobs.len());
        let mut legs = Vec::with_capacity(jobs.len());
        // Who was named in vain is asked for anew; for the first try a recent answer does.
        let mut users: Vec<(&Uid, bool)> = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Aim::Users { legs: of_job, .. } = &job.aim else { continue };
            for (_, uid) in of_job {
                let next = u32::try_from(users.len()).unwrap_or(u32::MAX);
                let user = *known.entry(uid).or_insert(next);
                if user == next {
                    users.push((uid, false));
                }
                if let Some((_, tried)) = users.get_mut(user as usize) {
                    *tried |= again || job.tried;
                }
                legs.push(user);
            }
        }
        let mut owners: Vec<Option<Owner>> = vec![None; users.len()];
        for (freshness, of_tried) in [(Freshness::Cached, false), (Freshness::Current, true)] {
            let asked = || users.iter().zip(0..).filter(|((_, tried), _)| *tried == of_tried);
            let count = asked().count();
            if count == 0 {
                continue;
            }
            let mut uids = Vec::with_capacity(count);
            uids.extend(asked().map(|((uid, _), _)| Uid::clone(uid)));
            let found = directory.lookup(&uids, freshness).await?;
            if count == users.len() {
                owners = found;
                break;
            }
            for ((_, at), owner) in asked().zip(found) {
                if let Some(place) = owners.get_mut(at) {
                    *place = owner;
                }
            }
        }
        Ok(Self { legs, owners })
    }

    /// Names the owners from a leg on.
    fn from(&self, leg: usize) -> impl Iterator<Item = Option<&Owner>> {
        let legs = self.legs.get(leg..).unwrap_or_default();
        legs.iter().map(|user| self.owners.get(*user as usize).and_then(Option::as_ref))
    }
}

async fn holders<'a>(
    directory: &dyn Directory,
    jobs: &'a [Job],
) -> Result<HashMap<&'a [Tgid], Vec<NodeRef>>, DirectoryError> {
    let mut holders: HashMap<&[Tgid], Vec<NodeRef>> = HashMap::new();
    for job in jobs {
        if let Aim::Groups { tgids, .. } = &job.aim {
            holders.entry(tgids).or_default();
        }
    }
    let lists: Vec<&[Tgid]> = holders.keys().copied().collect();
    let found = try_join_all(lists.iter().map(|tgids| directory.holders(tgids))).await?;
    holders.extend(lists.into_iter().zip(found));
    Ok(holders)
}

/// What of one message goes to one node.
struct Part {
    place: usize,
    legs: SmallVec<[u32; 2]>,
    addressed: Sessions,
    /// Of a durable message: where each user has it.
    at: Vec<Position>,
}

struct Plan {
    routed: Routed,
    places: HashMap<NodeRef, usize>,
    /// How many there are.
    jobs: usize,
    again: bool,
}

impl Plan {
    fn users<'a>(
        &mut self,
        job: &Job,
        legs: &[(u32, Uid)],
        of: &Arc<[Tgid]>,
        owners: impl Iterator<Item = Option<&'a Owner>>,
        stored: &Stored,
    ) {
        // What this message has for each node so far.
        let mut parts: Vec<Part> = Vec::new();
        for (nth, ((leg, uid), owner)) in legs.iter().zip(owners).enumerate() {
            let Some((place, addressed, at)) = self.user(job, *leg, uid, owner, stored.of_user(nth)) else { continue };
            // Nearly every message has one leg.
            if legs.len() == 1 {
                let (legs, addressed, at) = (smallvec![*leg], smallvec![addressed], at.into_iter().collect());
                return self.put_users(job, of, Part { place, legs, addressed, at });
            }
            let part = match parts.iter().position(|part| part.place == place) {
                Some(part) => parts.get_mut(part),
                None => {
                    parts.push(Part { place, legs: SmallVec::new(), addressed: Sessions::new(), at: Vec::new() });
                    parts.last_mut()
                }
            };
            if let Some(part) = part {
                part.legs.push(*leg);
                part.addressed.push(addressed);
                part.at.extend(at);
            }
        }
        parts.into_iter().for_each(|part| self.put_users(job, of, part));
    }

    /// Finds the place for one user's leg, unless it has its outcome already: whose session it is for there, and where its
    /// mailbox has it.
    fn user(
        &mut self,
        job: &Job,
        leg: u32,
        uid: &Uid,
        owner: Option<&Owner>,
        stored: Option<Appended>,
    ) -> Option<(usize, Addressed, Option<Position>)> {
        let id = LegId { entry_id: job.entry_id, leg };
        let at = match stored {
            Some(Appended::NotMember) => {
                self.routed.done.push((id, Outcome::NotMember));
                return None;
            }
            Some(Appended::Stored(at)) => Some(at),
            None => None,
        };
        if let Some(at) = at.filter(|_| job.message.traced) {
            self.routed.stored.push((job.message.id.clone(), uid.clone(), at));
        }
        let Some(owner) = owner else {
            self.routed.done.push((id, at.map_or(Outcome::Offline, |_| Outcome::Stored)));
            return None;
        };
        let addressed = Addressed { uid: uid.clone(), session: owner.session, fence: owner.fence };
        Some((self.place(&owner.node), addressed, at))
    }

    fn put_users(&mut self, job: &Job, of: &Arc<[Tgid]>, part: Part) {
        let Part { place, legs, addressed, at } = part;
        let to = match at.is_empty() {
            true => recipients(addressed, of),
            false => Recipients::Stored { to: addressed, at },
        };
        self.put(place, job, to, ReceiptLegs::Users { legs, of: of.clone() });
    }

    fn fan(&mut self, job: &Job, nodes: &[NodeRef], but: &[Incarnation], to: impl Fn() -> Recipients) {
        let mut goes_to = Vec::with_capacity(nodes.len());
        for node in nodes.iter().filter(|node| !but.contains(&node.incarnation)) {
            let place = self.place(node);
            self.put(place, job, to(), ReceiptLegs::Fan);
            goes_to.push(node.incarnation);
        }
        self.routed.fans.push((job.entry_id, goes_to));
    }

    fn place(&mut self, node: &NodeRef) -> usize {
        if let Some(place) = self.places.get(node) {
            return *place;
        }
        // Most of them are for one node, as a rule the first.
        let room = if self.routed.nodes.is_empty() { self.jobs } else { 0 };
        self.routed.nodes.push((node.clone(), Parcels::with_capacity(room)));
        let place = self.routed.nodes.len() - 1;
        self.places.insert(node.clone(), place);
        place
    }

    fn put(&mut self, place: usize, job: &Job, to: Recipients, legs: ReceiptLegs) {
        let delivery = Delivery { entry: Some(job.entry_id), message: job.message.clone(), to };
        let receipt = Receipt { entry_id: job.entry_id, again: self.again, legs };
        if let Some((_, parcels)) = self.routed.nodes.get_mut(place) {
            parcels.deliveries.push(delivery);
            parcels.receipts.push(receipt);
        }
    }
}

// `of` goes with one user only: no entry names several users and a group.
fn recipients(mut addressed: Sessions, of: &[Tgid]) -> Recipients {
    if of.is_empty() {
        return Recipients::Sessions(addressed);
    }
    match addressed.pop() {
        Some(to) => Recipients::Member { to, of: of.to_vec() },
        None => Recipients::Sessions(addressed),
    }
}
