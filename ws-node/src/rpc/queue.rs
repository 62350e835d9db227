//! `gim.v1.Queue`: what operators ask of the queue.

use std::sync::Arc;

use gim_proto::rpc::{self, queue_server};
use gim_proto::{EntryId, MessageId, Uid};
use gim_proxy_sdk::queue::{Cancelled, LaneStats, Selection};
use tonic::{Request, Response, Status};

use super::status;
use crate::core::Core;

/// Dead letters in one answer.
const MOST_LETTERS: usize = 1_000;

pub(super) struct QueueService {
    core: Arc<Core>,
}

impl QueueService {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl queue_server::Queue for QueueService {
    async fn stats(
        &self,
        _request: Request<rpc::QueueStatsRequest>,
    ) -> Result<Response<rpc::QueueStatsResponse>, Status> {
        let lanes = self.core.queue.stats().await.map_err(|error| status::of_queue(&error))?;
        Ok(Response::new(rpc::QueueStatsResponse { lanes: lanes.into_iter().map(lane_stats).collect() }))
    }

    async fn list_dead(
        &self,
        request: Request<rpc::ListDeadRequest>,
    ) -> Result<Response<rpc::ListDeadResponse>, Status> {
        let request = request.into_inner();
        let lane = lane(request.lane)?;
        let after = if request.after.is_empty() { None } else { Some(entry_id(&request.after)?) };
        let limit = usize::try_from(request.limit).unwrap_or(MOST_LETTERS).clamp(1, MOST_LETTERS);
        let queue = &self.core.queue;
        let letters = queue.dead(lane, after, limit).await.map_err(|error| status::of_queue(&error))?;
        let stats = queue.stats().await.map_err(|error| status::of_queue(&error))?;
        let total = stats.iter().find(|stats| stats.lane == lane).map_or(0, |stats| stats.dead);
        let letters = letters
            .into_iter()
            .map(|letter| rpc::DeadLetter {
                id: letter.id.to_string(),
                fields: rpc::QueueEntry::from(letter.fields).fields,
            })
            .collect();
        Ok(Response::new(rpc::ListDeadResponse { letters, total }))
    }

    async fn redrive_dead(
        &self,
        request: Request<rpc::SelectDeadRequest>,
    ) -> Result<Response<rpc::CountResponse>, Status> {
        let (lane, which) = selection(request.into_inner())?;
        let count = self.core.queue.redrive(lane, which).await.map_err(|error| status::of_queue(&error))?;
        Ok(Response::new(rpc::CountResponse { count }))
    }

    async fn purge_dead(
        &self,
        request: Request<rpc::SelectDeadRequest>,
    ) -> Result<Response<rpc::CountResponse>, Status> {
        let (lane, which) = selection(request.into_inner())?;
        let count = self.core.queue.purge(lane, which).await.map_err(|error| status::of_queue(&error))?;
        Ok(Response::new(rpc::CountResponse { count }))
    }

    async fn cancel(&self, request: Request<rpc::CancelRequest>) -> Result<Response<rpc::CancelResponse>, Status> {
        let request = request.into_inner();
        let id = MessageId::parse(&request.id).map_err(status::of_name)?;
        let uid = (!request.uid.is_empty()).then(|| Uid::parse(&request.uid)).transpose().map_err(status::of_name)?;
        let cancelled = crate::cancel::cancel(&self.core, &id, uid.as_ref()).await;
        let outcome = match cancelled.map_err(|error| status::of_error(&error))? {
            Cancelled::Done(_) => rpc::CancelOutcome::Done,
            Cancelled::TooLate => rpc::CancelOutcome::TooLate,
            Cancelled::Unknown => rpc::CancelOutcome::Unknown,
        };
        Ok(Response::new(rpc::CancelResponse { outcome: outcome.into() }))
    }
}

fn lane(lane: u32) -> Result<u16, Status> {
    u16::try_from(lane).map_err(|_| Status::not_found("there is no such lane"))
}

fn selection(request: rpc::SelectDeadRequest) -> Result<(u16, Selection), Status> {
    let ids = request.ids.iter().map(|id| entry_id(id)).collect::<Result<Vec<_>, _>>()?;
    let which = if ids.is_empty() { Selection::All } else { Selection::Ids(ids) };
    Ok((lane(request.lane)?, which))
}

fn entry_id(id: &str) -> Result<EntryId, Status> {
    EntryId::parse(id).map_err(|_| Status::invalid_argument("an entry id has the form `ms-seq`"))
}

fn lane_stats(stats: LaneStats) -> rpc::LaneStats {
    rpc::LaneStats {
        lane: stats.lane.into(),
        lag: stats.lag,
        pending: stats.pending,
        later: stats.later,
        dead: stats.dead,
        oldest_pending_ms: stats.oldest_pending_ms,
        settled: stats.settled,
    }
}
