//! Which incarnations hold members of a group.
//!
//! Owns the index's calls. A name that is not known to live is passed over, and left where it is: a node that has just
//! started may not be in the view yet, and an index that names too few loses messages. The sweep takes it away once it
//! is sure.

use gim_proto::{Incarnation, Tgid};

use super::calls::Command;
use super::script::HOLD;
use super::{RedisDirectory, text};
use crate::directory::{DirectoryError, NodeRef};

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
            let view = self.view()?;
            for (tgid, answer) in some.iter().zip(answers) {
                for member in answer.into_array() {
                    let Some(incarnation) = text(&member).and_then(|member| Incarnation::parse(member).ok()) else {
                        continue;
                    };
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
