//! Which incarnations hold members of a group.
//!
//! Owns the index's calls. A name that is not known to live is passed over once it is judged, and left where it is: an
//! index that names too few loses messages. The sweep takes it away once it is sure.

use ::fred::types::Value;
use gim_proto::{Incarnation, Tgid};

use super::script::HOLD;
use super::{RedisDirectory, text};
use crate::directory::{DirectoryError, NodeRef};
use crate::scripts::Command;

/// Groups asked for in one go.
const AT_ONCE: usize = 1_000;

impl RedisDirectory {
    /// `change`: `SADD` or `SREM`.
    pub(super) async fn hold(&self, change: &str, tgid: &Tgid, node: &NodeRef) -> Result<(), DirectoryError> {
        let (group, incarnation) = (self.keys.group(tgid), node.incarnation.to_string());
        let args = [incarnation.as_str(), change];
        let _changed: i64 = self.calls.script(&HOLD, &[&group], &args, self.calls.give_up()).await?;
        Ok(())
    }

    pub(super) async fn holders_of(&self, tgids: &[Tgid]) -> Result<Vec<NodeRef>, DirectoryError> {
        let since = self.begin();
        let mut nodes: Vec<NodeRef> = Vec::new();
        for some in tgids.chunks(AT_ONCE) {
            let command = |tgid: &Tgid| Command::new("SMEMBERS", [self.keys.group(tgid)]);
            let answers = self.calls.together(some.iter().map(command).collect()).await?;
            let named: Vec<Vec<Incarnation>> = answers.into_iter().map(incarnations).collect();
            let view = self.view_with(self.view()?, named.iter().flatten().copied()).await?;
            for (tgid, incarnations) in some.iter().zip(named) {
                for incarnation in incarnations {
                    match view.find(&incarnation) {
                        Some(node) if nodes.contains(node) => {}
                        Some(node) => nodes.push(node.clone()),
                        None => self.leftovers.named(tgid, incarnation),
                    }
                }
            }
        }
        // Of several holders one may be missing: the answer never shows it.
        self.confirm(since).await?;
        Ok(nodes)
    }
}

fn incarnations(answer: Value) -> Vec<Incarnation> {
    let members = answer.into_array();
    members.iter().filter_map(|member| Incarnation::parse(text(member)?).ok()).collect()
}
