//! The scripts of a lane, and calling those that compare the term first.

use std::fmt::Display;
use std::io::Write;
use std::sync::LazyLock;

use ::redis::{FromRedisValue, Script};
use gim_proto::EntryId;
use gim_proxy_sdk::store::wire::Command;

use super::shared::Shared;
use super::trouble::Trouble;

macro_rules! plain {
    ($file:literal) => {
        LazyLock::new(|| Script::new(include_str!($file)))
    };
}

macro_rules! fenced {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("lua/fence.lua"), include_str!($file))))
    };
}

pub(super) static ACQUIRE: LazyLock<Script> = plain!("lua/acquire.lua");
pub(super) static RENEW: LazyLock<Script> = plain!("lua/renew.lua");
pub(super) static REGISTER: LazyLock<Script> = fenced!("lua/register.lua");
pub(super) static RELEASE: LazyLock<Script> = fenced!("lua/release.lua");
pub(super) static DUE: LazyLock<Script> = fenced!("lua/due.lua");
pub(super) static GATHER: LazyLock<Script> = fenced!("lua/gather.lua");
pub(super) static RECALL: LazyLock<Script> = fenced!("lua/recall.lua");
pub(super) static CLAIM: LazyLock<Script> = fenced!("lua/claim.lua");
pub(super) static MARK: LazyLock<Script> = fenced!("lua/mark.lua");
pub(super) static SURVEY: LazyLock<Script> = fenced!("lua/survey.lua");
pub(super) static ACK: LazyLock<Script> = fenced!("lua/ack.lua");
pub(super) static ASIDE: LazyLock<Script> = fenced!("lua/aside.lua");
pub(super) static BURY: LazyLock<Script> = fenced!("lua/bury.lua");

/// The term changes under a call only when this source took the lane anew meanwhile.
const TRIES: usize = 3;

/// Bytes of what comes before keys and arguments, and of the claim, about.
const FIRST: usize = 128;

/// Arguments of a script, as they go over the wire, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    /// Makes room for so many entries.
    pub(super) fn with_room(entries: usize) -> Self {
        Self { bytes: Vec::with_capacity(entries * 20), ends: Vec::with_capacity(entries + 2) }
    }

    pub(super) fn push(&mut self, argument: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{argument}");
        self.ends.push(self.bytes.len());
    }

    /// The same for an entry: there are many.
    pub(super) fn push_id(&mut self, entry_id: EntryId) {
        entry_id.write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn with(mut self, argument: impl Display) -> Self {
        self.push(argument);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(from, to)| self.bytes.get(from..*to).unwrap_or_default())
    }
}

impl Shared {
    /// Writes down the call of a script about the lane. None: the lane was never this source's.
    pub(super) fn written(&self, script: &Script, args: &Args, run: Option<u64>) -> Result<Option<Command>, Trouble> {
        let term = self.lease.term();
        if term == 0 {
            return Ok(None);
        }
        let mut command = Command::new("EVALSHA");
        let keys = self.names.of_lane();
        // Each has its length before it, in two lines.
        let (bytes, parts) =
            (keys.iter().map(|key| key.len()).sum::<usize>() + args.bytes.len(), keys.len() + args.len());
        command.reserve(bytes + parts * 9 + FIRST);
        command.arg(script.get_hash());
        command.number(keys.len() as u64);
        keys.iter().for_each(|key| command.arg(key));
        command.arg(&self.claim(term, run)?);
        args.iter().for_each(|arg| command.arg(arg));
        Ok(Some(command))
    }

    /// Calls a script about the lane, if the lane is still this source's.
    pub(super) async fn fenced<T: FromRedisValue + Send>(&self, script: &Script, args: &Args) -> Result<T, Trouble> {
        self.fenced_on(script, &self.names.of_lane(), args).await
    }

    /// Calls a script about the lane, if Redis is still that run, too.
    pub(super) async fn fenced_in<T: FromRedisValue + Send>(
        &self,
        run: Option<u64>,
        script: &Script,
        args: &Args,
    ) -> Result<T, Trouble> {
        self.call_fenced(script, &self.names.of_lane(), args, run).await
    }

    /// Calls a script about other keys of the lane's slot, of which the lease is the first.
    pub(super) async fn fenced_on<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &Args,
    ) -> Result<T, Trouble> {
        self.call_fenced(script, keys, args, None).await
    }

    /// What a script compares first: the term, and the run if it matters.
    fn claim(&self, term: u64, run: Option<u64>) -> Result<String, Trouble> {
        match run {
            None => Ok(term.to_string()),
            Some(run) => Ok(format!("{term} {}", self.name_of_run(run).ok_or(Trouble::OtherRun)?)),
        }
    }

    async fn call_fenced<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &Args,
        run: Option<u64>,
    ) -> Result<T, Trouble> {
        for _ in 0..TRIES {
            let term = self.lease.term();
            if term == 0 {
                return Err(Trouble::NoLease);
            }
            let mut call = script.prepare_invoke();
            call.key(keys).arg(self.claim(term, run)?);
            args.iter().for_each(|arg| {
                call.arg(arg);
            });
            let answer = self.link.script(&call).await.map_err(Trouble::from);
            match answer {
                // Perhaps this source's own, taken by a call whose answer was lost: the lease itself has to tell.
                Err(Trouble::Lost) if term == self.lease.term() => {
                    self.lease.doubt();
                    return Err(Trouble::NoLease);
                }
                Err(Trouble::Lost) => {}
                answer => return answer,
            }
        }
        Err(Trouble::NoLease)
    }
}
