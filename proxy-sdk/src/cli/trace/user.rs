//! `gim trace --uid`: what one user does right now, on every node that is there or comes.
//!
//! Owns one task per node, which ends with the node's telling; while the node stays registered it is asked again.

use std::collections::{HashMap, HashSet};
use std::io;

use gim_proto::Uid;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};

use super::super::screen::Screen;
use super::super::table::printable;
use super::super::way::Way;
use super::super::{DONE, FAILED, time};
use crate::client::Happening;
use crate::{Error, NodeClient};

/// How often it is looked for new nodes, and one that stopped telling is asked again.
const LOOK: Duration = Duration::from_millis(500);
/// Events of all nodes that wait to be shown. The nodes wait with the rest, and tell what they had to drop.
const WAITING: usize = 256;
/// An hour is as long as a node tells anyway.
const LONGEST: Duration = Duration::from_hours(1);

/// What a node tells.
enum Told {
    Happened(String, Happening),
    Failed(String, Error),
}

/// Shows what happens until ctrl-c, or for as long as asked for.
pub(super) async fn run(
    uid: &Uid,
    limit: Option<Duration>,
    way: &Way,
    screen: &mut Screen<'_>,
) -> (u8, io::Result<()>) {
    let (teller, mut told) = mpsc::channel(WAITING);
    let mut following = Following { uid: uid.clone(), teller, nodes: HashMap::new() };
    let end = Instant::now() + limit.unwrap_or(LONGEST);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = HashSet::new();
    let (mut code, mut written) = (FAILED, Ok(()));
    while written.is_ok() {
        tokio::select! {
            Some(told) = told.recv() => written = match told {
                Told::Happened(node, happening) => {
                    code = DONE;
                    silent.remove(&node);
                    show(&node, &happening, screen)
                }
                Told::Failed(node, error) => {
                    let text = format!("{node}: {error}");
                    let complaint = Error::new(error.kind, text);
                    if !way.is_cluster() {
                        return (FAILED, screen.complain(&complaint));
                    }
                    // One that stays silent is asked again and again.
                    if silent.insert(node) { screen.complain(&complaint) } else { Ok(()) }
                }
            },
            _ = looks.tick() => following.look(way),
            () = sleep_until(end) => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    (code, written)
}

struct Following {
    uid: Uid,
    teller: mpsc::Sender<Told>,
    nodes: HashMap<String, JoinHandle<()>>,
}

impl Following {
    /// Follows on every node on which nobody does it yet.
    fn look(&mut self, way: &Way) {
        let named: HashMap<String, NodeClient> = way.all().into_iter().collect();
        self.nodes.retain(|name, task| !task.is_finished() && named.contains_key(name));
        for (name, client) in named {
            let (uid, teller) = (self.uid.clone(), self.teller.clone());
            let start = || tokio::spawn(follow(name.clone(), client, uid, teller));
            self.nodes.entry(name.clone()).or_insert_with(start);
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.nodes.values().for_each(JoinHandle::abort);
    }
}

async fn follow(name: String, client: NodeClient, uid: Uid, teller: mpsc::Sender<Told>) {
    let tell = async {
        let mut followed = client.follow(&uid).await?;
        while let Some(happening) = followed.next().await? {
            if teller.send(Told::Happened(name.clone(), happening)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(error) = tell.await {
        // Nobody listens any more: then nobody is told.
        let _ = teller.send(Told::Failed(name, error)).await;
    }
}

fn show(node: &str, happening: &Happening, screen: &mut Screen<'_>) -> io::Result<()> {
    if screen.is_json {
        let mut shown = json!(happening);
        shown["node"] = node.into();
        writeln!(screen.out, "{shown}")?;
    } else {
        let (at, id) = (time::show_moment(happening.at_us), happening.id.as_deref().unwrap_or("-"));
        let (event, detail) = (printable(&happening.event), printable(&happening.detail));
        writeln!(screen.out, "{at}  {}  {event:<9}  {}  {detail}", printable(node), printable(id))?;
    }
    screen.out.flush()
}
