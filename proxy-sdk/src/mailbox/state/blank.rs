//! A mailbox that never held a message, in as few bytes as it takes: most users have one, and many nothing else.

use gim_proto::Fence;

use super::Mailbox;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blank {
    epoch: u64,
    fence: Fence,
}

impl Mailbox {
    /// Tells it in short, if it never held a message.
    #[must_use]
    pub fn blank(&self) -> Option<Blank> {
        let Self { epoch, fence, .. } = *self;
        let is_blank = self.last == 0 && self.acked == 0 && self.letters.is_empty() && self.ids.is_empty();
        (is_blank && self.untold.is_empty()).then_some(Blank { epoch, fence })
    }
}

impl From<Blank> for Mailbox {
    fn from(Blank { epoch, fence }: Blank) -> Self {
        Self { fence, ..Self::new(epoch) }
    }
}
