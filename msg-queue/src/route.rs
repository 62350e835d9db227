//! Where messages go: from targets to nodes, resolved at delivery time, a whole round at once.
//!
//! Owns the step from [`Job`]s to deliveries per node. Asks the directory once for all users of a round, once per list
//! of groups and once for all nodes. Never delivers, and decides nothing about failures.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use gim_proto::{EntryId, Incarnation, Tgid, Uid};
use gim_proxy_sdk::delivery::{Addressed, Delivery, Message, Recipients};
use gim_proxy_sdk::directory::{Directory, DirectoryError, Freshness, NodeRef, Owner};

use crate::lane::{Aim, Job, LegId};

/// Where the messages of a round go.
#[derive(Debug, Default)]
pub struct Routed {
    /// Legs whose user is not connected.
    pub offline: Vec<LegId>,
    /// Messages to groups or to all, and the nodes each goes to.
    pub fans: Vec<(EntryId, Vec<Incarnation>)>,
    /// What each node gets, in order.
    pub nodes: Vec<(NodeRef, Vec<Parcel>)>,
}

/// A delivery and whom it is for in the lane.
#[derive(Debug)]
pub struct Parcel {
    /// What the node gets.
    pub delivery: Delivery,
    /// Whom its report is about.
    pub receipt: Receipt,
}

/// Whom the report on a delivery is about.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The message's entry.
    pub entry_id: EntryId,
    /// The message, for another look-up.
    pub message: Arc<Message>,
    /// It was looked up again already.
    pub again: bool,
    /// Its legs.
    pub legs: ReceiptLegs,
}

/// Legs a report is about.
#[derive(Clone, Debug)]
pub enum ReceiptLegs {
    /// Users, in the order of the report.
    Users {
        /// The legs and their users.
        legs: Vec<(u32, Uid)>,
        /// Only if a member of one of these groups. Empty: no such condition.
        of: Arc<[Tgid]>,
    },
    /// The node's leg of a message to groups or to all.
    Fan,
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
/// Those of the directory. Nothing was routed then.
pub async fn route(directory: &dyn Directory, jobs: &[Job], again: bool) -> Result<Routed, DirectoryError> {
    // Who was named in vain is asked for anew; for the first try a recent answer does.
    let (tried, first): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| again || job.tried);
    let mut owners = owners(directory, &first, Freshness::Cached).await?;
    owners.extend(self::owners(directory, &tried, Freshness::Current).await?);
    let holders = holders(directory, jobs).await?;
    let everywhere = match jobs.iter().any(|job| matches!(job.aim, Aim::All { .. })) {
        true => directory.nodes().await?,
        false => Vec::new(),
    };
    let mut plan = Plan { routed: Routed::default(), places: HashMap::new(), again };
    for job in jobs {
        match &job.aim {
            Aim::Users { legs, of } => plan.users(job, legs, of, &owners),
            Aim::Groups { tgids, but } => {
                let nodes = holders.get(&**tgids).map_or(&[][..], Vec::as_slice);
                plan.fan(job, nodes, but, || Recipients::Groups(tgids.to_vec()));
            }
            Aim::All { but } => plan.fan(job, &everywhere, but, || Recipients::All),
        }
    }
    Ok(plan.routed)
}

async fn owners(
    directory: &dyn Directory,
    jobs: &[&Job],
    freshness: Freshness,
) -> Result<HashMap<Uid, Option<Owner>>, DirectoryError> {
    let mut owners: HashMap<Uid, Option<Owner>> = HashMap::new();
    for job in jobs {
        if let Aim::Users { legs, .. } = &job.aim {
            owners.extend(legs.iter().map(|(_, uid)| (uid.clone(), None)));
        }
    }
    if owners.is_empty() {
        return Ok(owners);
    }
    let uids: Vec<Uid> = owners.keys().cloned().collect();
    let found = directory.lookup(&uids, freshness).await?;
    owners.extend(uids.into_iter().zip(found));
    Ok(owners)
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
    legs: Vec<(u32, Uid)>,
    addressed: Vec<Addressed>,
}

struct Plan {
    routed: Routed,
    places: HashMap<NodeRef, usize>,
    again: bool,
}

impl Plan {
    fn users(&mut self, job: &Job, legs: &[(u32, Uid)], of: &Arc<[Tgid]>, owners: &HashMap<Uid, Option<Owner>>) {
        // What this message has for each node so far. Mostly one.
        let mut parts: Vec<Part> = Vec::with_capacity(1);
        for (leg, uid) in legs {
            let Some(owner) = owners.get(uid).and_then(Option::as_ref) else {
                self.routed.offline.push(LegId { entry_id: job.entry_id, leg: *leg });
                continue;
            };
            let place = self.place(&owner.node);
            let addressed = Addressed { uid: uid.clone(), session: owner.session, fence: owner.fence };
            match parts.iter_mut().find(|part| part.place == place) {
                Some(part) => {
                    part.legs.push((*leg, uid.clone()));
                    part.addressed.push(addressed);
                }
                None => parts.push(Part { place, legs: vec![(*leg, uid.clone())], addressed: vec![addressed] }),
            }
        }
        for Part { place, legs, addressed } in parts {
            let to = recipients(addressed, of);
            self.put(place, job, to, ReceiptLegs::Users { legs, of: of.clone() });
        }
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
        self.routed.nodes.push((node.clone(), Vec::new()));
        let place = self.routed.nodes.len() - 1;
        self.places.insert(node.clone(), place);
        place
    }

    fn put(&mut self, place: usize, job: &Job, to: Recipients, legs: ReceiptLegs) {
        let delivery = Delivery { entry: Some(job.entry_id), message: job.message.clone(), to };
        let receipt = Receipt { entry_id: job.entry_id, message: job.message.clone(), again: self.again, legs };
        if let Some((_, parcels)) = self.routed.nodes.get_mut(place) {
            parcels.push(Parcel { delivery, receipt });
        }
    }
}

// `of` goes with one user only: no entry names several users and a group.
fn recipients(mut addressed: Vec<Addressed>, of: &[Tgid]) -> Recipients {
    if of.is_empty() {
        return Recipients::Sessions(addressed);
    }
    match addressed.pop() {
        Some(to) => Recipients::Member { to, of: of.to_vec() },
        None => Recipients::Sessions(addressed),
    }
}
