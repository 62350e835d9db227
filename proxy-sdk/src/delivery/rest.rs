//! What is left of a delivery when the answers for some of its targets are known.
//!
//! Owns the two steps: leaving them out, and putting them back where they belong. Knows no reason for either.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Addressed, Delivery, Recipients, Report, Sessions, TargetReport, TargetReports};

/// A delivery without the targets whose answer is known.
#[derive(Debug)]
pub struct Rest<'a> {
    /// What is still to be delivered: as it was, where nothing is known. None: nothing.
    pub delivery: Option<Cow<'a, Delivery>>,
    /// Per addressed session, in order.
    known: Vec<Option<TargetReport>>,
    /// The whole answer, if nothing is asked.
    answer: Option<Report>,
}

impl<'a> Rest<'a> {
    /// Leaves out what is known. Messages to groups and to all have no targets that could be.
    #[must_use]
    pub fn of(delivery: &'a Delivery, known: impl FnMut(&Addressed) -> Option<TargetReport>) -> Self {
        let addressed = delivery.to.addressed();
        let known: Vec<_> = addressed.iter().map(known).collect();
        if known.iter().all(Option::is_none) {
            return Self { delivery: Some(Cow::Borrowed(delivery)), known, answer: None };
        }
        let left = addressed.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(to, _)| to.clone());
        let left: Sessions = left.collect();
        // Of one addressed session either all is known or nothing.
        let delivery = (!left.is_empty()).then(|| {
            let (entry, message) = (delivery.entry, Arc::clone(&delivery.message));
            Cow::Owned(Delivery { entry, message, to: left_of(&delivery.to, left, &known) })
        });
        Self { delivery, known, answer: None }
    }

    /// Leaves out the whole delivery, whose answer is known.
    #[must_use]
    pub const fn answered(answer: Report) -> Self {
        Self { delivery: None, known: Vec::new(), answer: Some(answer) }
    }

    /// Puts the answers together, in the order asked. `answered` is the report for [`delivery`](Self::delivery).
    #[must_use]
    pub fn join(self, answered: Option<Report>) -> Report {
        if let Some(answer) = self.answer {
            return answer;
        }
        let mut answers = match answered {
            Some(count @ Report::Count { .. }) => return count,
            Some(Report::Targets(targets)) => targets.into_iter(),
            None => TargetReports::new().into_iter(),
        };
        let join = |known: Option<TargetReport>| known.or_else(|| answers.next()).unwrap_or(TargetReport::NotOwner);
        Report::Targets(self.known.into_iter().map(join).collect())
    }
}

fn left_of(to: &Recipients, left: Sessions, known: &[Option<TargetReport>]) -> Recipients {
    match to {
        Recipients::Stored { at, .. } => {
            let at = at.iter().zip(known).filter(|(_, known)| known.is_none()).map(|(at, _)| *at).collect();
            Recipients::Stored { to: left, at }
        }
        _ => Recipients::Sessions(left),
    }
}
