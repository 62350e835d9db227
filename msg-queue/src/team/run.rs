//! The team's task: compares the lanes that are this worker's share with those in its hands, and begins and ends tenures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use super::roll::{Roll, Workers};
use super::share::share;
use super::tenure::{self, Leave};
use crate::worker::DrainReport;

/// How long a lane that becomes another worker's may take to deliver and settle what was read of it.
const HANDING_OVER: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Run {
    team: Arc<Shared>,
    workers: watch::Receiver<Workers>,
    drain: watch::Receiver<Leave>,
    /// The lanes in this worker's hands. Those on their way out are among them.
    tenures: HashMap<u16, Tenure>,
    ended: JoinSet<(u16, DrainReport)>,
    report: DrainReport,
}

struct Tenure {
    tell: watch::Sender<Leave>,
    task: Id,
}

impl Run {
    pub(super) fn new(team: Arc<Shared>, drain: watch::Receiver<Leave>) -> Self {
        let workers = team.workers.subscribe();
        let (tenures, ended) = (HashMap::new(), JoinSet::new());
        Self { team, workers, drain, tenures, ended, report: DrainReport::default() }
    }

    /// Works until it is asked to drain, and then until every lane is given back or the deadline is over.
    pub(super) async fn run(mut self, roll: Roll) -> DrainReport {
        let leave = CancellationToken::new();
        let roll = AbortOnDropHandle::new(tokio::spawn(roll.run(self.team.workers.clone(), leave.clone())));
        let asked = self.work_until_asked().await;
        let (deadline, alone) = self.leave_by(asked);
        // At once, so that the others know whose the lanes are by the time they are given back.
        leave.cancel();
        for tenure in self.tenures.values() {
            tenure.tell.send_replace(Some(deadline));
        }
        while let Some(ended) = self.ended.join_next().await {
            self.take_note(ended.map(|(lane, report)| (lane, if alone { report } else { report.handed_over() })));
        }
        // It has the store's own deadline.
        let _panicked = roll.await;
        self.report
    }

    /// Others who could work on the lanes are not kept waiting for what a node is slow to take: they read it again.
    fn leave_by(&self, deadline: Instant) -> (Instant, bool) {
        let is_alone = self.workers.borrow().as_deref().is_none_or(|workers| workers.len() < 2);
        (if is_alone { deadline } else { deadline.min(Instant::now() + HANDING_OVER) }, is_alone)
    }

    async fn work_until_asked(&mut self) -> Instant {
        loop {
            tokio::select! {
                deadline = tenure::asked_to_leave(&mut self.drain) => return deadline,
                Ok(()) = self.workers.changed() => {}
                Some(ended) = self.ended.join_next() => {
                    self.take_note(ended.map(|(lane, report)| (lane, report.handed_over())));
                }
            }
            self.apportion();
        }
    }

    fn take_note(&mut self, ended: Result<(u16, DrainReport), JoinError>) {
        match ended {
            Ok((lane, report)) => {
                self.tenures.remove(&lane);
                self.report = self.report.and(report);
            }
            Err(bug) => {
                tracing::error!(error = %bug, "a lane's tenure ended, it is begun anew");
                self.tenures.retain(|_, tenure| tenure.task != bug.id());
            }
        }
    }

    fn apportion(&mut self) {
        let Some(workers) = self.workers.borrow_and_update().clone() else { return };
        let runs: Vec<_> = workers.iter().map(|worker| worker.incarnation).collect();
        let mine = share(&runs, self.team.lanes.get(), self.team.me);
        if self.team.shares(&mine) {
            tracing::info!(workers = runs.len(), lanes = ?mine, "lanes are shared anew");
        }
        let deadline = Instant::now() + HANDING_OVER;
        for (lane, tenure) in &self.tenures {
            if !mine.contains(lane) {
                tenure.tell.send_if_modified(|leave| leave.is_none() && leave.replace(deadline).is_none());
            }
        }
        for lane in mine {
            // One that is on its way out is begun anew when it is over.
            if !self.tenures.contains_key(&lane) {
                let (tell, leave) = watch::channel(None);
                let task = self.ended.spawn(tenure::serve(Arc::clone(&self.team), lane, leave)).id();
                self.tenures.insert(lane, Tenure { tell, task });
            }
        }
    }
}
