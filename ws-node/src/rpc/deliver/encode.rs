//! From what the intake says to the wire.

use gim_proto::rpc::{DeliverResponse, DeliverVerdict, DeliveryReport, TargetOutcome};
use gim_proxy_sdk::Outcome;
use gim_proxy_sdk::delivery::{Report, TargetReport};

use super::decode::Malformed;
use crate::intake::Declined;

pub(super) fn answer(number: u64, answer: Result<Vec<Report>, Declined>) -> DeliverResponse {
    match answer {
        Ok(reports) => DeliverResponse {
            number,
            verdict: DeliverVerdict::Done.into(),
            reports: reports.into_iter().map(report).collect(),
            ..DeliverResponse::default()
        },
        Err(Declined::NoSuchLane) => malformed(number, &Malformed::OutOfRange("lane")),
        Err(Declined::Refused) => declined(number, DeliverVerdict::Refused),
        Err(Declined::Suspended) => declined(number, DeliverVerdict::Suspended),
        Err(Declined::NotHere) => declined(number, DeliverVerdict::NotHere),
    }
}

pub(super) fn malformed(number: u64, malformed: &Malformed) -> DeliverResponse {
    DeliverResponse { detail: malformed.to_string(), ..declined(number, DeliverVerdict::Malformed) }
}

fn declined(number: u64, verdict: DeliverVerdict) -> DeliverResponse {
    DeliverResponse { number, verdict: verdict.into(), ..DeliverResponse::default() }
}

fn report(report: Report) -> DeliveryReport {
    match report {
        Report::Targets(targets) => DeliveryReport {
            targets: targets.into_iter().map(|target| outcome(target).into()).collect(),
            ..DeliveryReport::default()
        },
        Report::Count { offered, slow } => DeliveryReport { offered, slow, ..DeliveryReport::default() },
    }
}

const fn outcome(target: TargetReport) -> TargetOutcome {
    match target {
        TargetReport::Done(Outcome::Offered) => TargetOutcome::Offered,
        TargetReport::Done(Outcome::NotMember) => TargetOutcome::NotMember,
        TargetReport::Done(Outcome::Slow) => TargetOutcome::Slow,
        TargetReport::Done(Outcome::Stored) => TargetOutcome::Stored,
        // A hub says none of these of a session: they are a worker's to say.
        TargetReport::Done(Outcome::Offline | Outcome::Expired | Outcome::Duplicate) | TargetReport::NotOwner => {
            TargetOutcome::NotOwner
        }
    }
}
