//! An etcd of three members.
//!
//! Owns the processes. Members can be killed and frozen; as long as two of them go on, etcd does.

use super::member::{Member, Peers};
use crate::etcd::EtcdOptions;
use crate::testing::free_port;

const MEMBERS: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct EtcdSet {
    members: Vec<Member>,
}

impl EtcdSet {
    /// Starts three members and waits until each of them serves.
    pub async fn start() -> Self {
        let mut log = String::new();
        // Somebody else may take a port between the look and the start: then all is begun anew.
        for _ in 0..10 {
            let ports: Vec<u16> = (0..MEMBERS).map(|_| free_port()).collect();
            let start = |index| Member::start(None, &Peers::Of(ports.clone(), index), &[]);
            let mut set = Self { members: (0..MEMBERS).map(start).collect() };
            match set.serves().await {
                None => return set,
                Some(ended) => log = set.members[ended].log(),
            }
        }
        panic!("etcd does not start: {log}")
    }

    /// What a node needs to reach all of them.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(Member::endpoint))
    }

    /// What a node needs to reach one of them.
    #[must_use]
    pub fn options_of(&self, index: usize) -> EtcdOptions {
        self.members[index].options()
    }

    /// The URL of a member.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> String {
        self.members[index].endpoint()
    }

    /// Kills a member, as a crash does.
    pub fn stop(&mut self, index: usize) {
        self.members[index].stop();
    }

    /// Starts a member again with what it kept on disk, and waits until it serves.
    pub async fn restart(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.restart();
        let options = member.options();
        assert!(member.serves(&options).await, "etcd does not serve again: {}", member.log());
    }

    /// Stops a member in the middle of whatever it does, without closing a connection.
    pub fn freeze(&self, index: usize) {
        self.members[index].freeze();
    }

    /// Lets a member go on.
    pub fn thaw(&self, index: usize) {
        self.members[index].thaw();
    }

    // None: all do. Otherwise one that does not.
    async fn serves(&mut self) -> Option<usize> {
        for (index, member) in self.members.iter_mut().enumerate() {
            let options = member.options();
            if !member.serves(&options).await {
                return Some(index);
            }
        }
        None
    }
}
