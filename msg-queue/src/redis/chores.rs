//! What the reader has to do before it reads on, noted by whoever notices.

/// One connection that reads: its client id, and the run of the server that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReaderId {
    pub(super) client: u64,
    pub(super) run: Box<str>,
}

/// Readers remembered to be ended. More pile up only while Redis cannot be reached, and then the oldest are long gone.
const MOST_FORMER: usize = 8;

/// Everything here is done once and may be done twice.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// The connection is one to another run of Redis than the one that answers now.
    pub(super) reconnect: bool,
    /// The consumer group may be missing.
    pub(super) group: bool,
    /// What waits beside the stream as handed out, and is not outstanding, has to be taken back.
    pub(super) recall: bool,
    /// It was with a worker that is gone: that counts as an attempt. An answer that was lost does not.
    pub(super) counts: bool,
    /// Nobody remembers who was held back behind what was put aside: all of it is read first.
    pub(super) all: bool,
    /// What is pending and not outstanding has to come again.
    pub(super) drain: bool,
    /// Readers that may still wait for entries.
    pub(super) former: Vec<ReaderId>,
}

impl Chores {
    /// A lane was taken. `anew`: by a source that remembers nothing of it.
    pub(super) fn taken(&mut self, anew: bool) {
        self.group = true;
        self.recall = true;
        self.drain = true;
        self.all |= anew;
        self.counts |= anew;
    }

    /// Another run of Redis answers: it may remember less or more than the one before.
    pub(super) fn run_changed(&mut self) {
        self.reconnect = true;
        self.taken(false);
    }

    pub(super) fn group_is_gone(&mut self) {
        self.taken(false);
    }

    /// Everything not settled comes again.
    pub(super) fn start_over(&mut self) {
        self.recall = true;
        self.drain = true;
        self.all = true;
        self.counts = true;
    }

    pub(super) fn end_reader(&mut self, reader: ReaderId) {
        if self.former.len() == MOST_FORMER {
            self.former.remove(0);
        }
        self.former.push(reader);
    }
}
