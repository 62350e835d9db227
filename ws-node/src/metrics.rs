//! The node's figures, and the log lines that go with them.
//!
//! Owns every metric of this crate: its name, its labels (bounded sets only; users and messages are in log fields) and
//! the place where it is counted together with its log line. There is one recorder per node, none for the process.

use std::sync::atomic::{AtomicU64, Ordering};

use gim_msg_queue::admin;
use gim_msg_queue::exporter::{Exporter, as_f64};
use gim_msg_queue::local::store::StoreFigures;
use gim_proto::codes::{CloseCode, ErrorCode};
use gim_proto::frame::GapReason;
use gim_proto::{MessageId, Tgid, Uid};
use gim_proxy_sdk::delivery::TargetReport;
use gim_proxy_sdk::directory::NewsFigures;
use gim_proxy_sdk::ledger::Written;
use gim_proxy_sdk::mailbox::MailboxError;
use gim_proxy_sdk::mailbox::local::MailboxFigures;
use gim_proxy_sdk::queue::LaneStats;
use gim_proxy_sdk::store::CrowdedCalls;
use gim_proxy_sdk::upstream::UpstreamError;
use metrics::{Counter, Gauge, Recorder};

use crate::core::Cluster;
use crate::deflate::Deflate;
use crate::listener::{LoginFigures, PutOff};
use crate::session::{AckAnswer, CloseReason, Session};

/// See the module.
pub(crate) struct Metrics {
    exporter: Exporter,
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) messages_in: Counter,
    pub(crate) bad_frames: Counter,
    pub(crate) close_timeouts: Counter,
    pub(crate) deflate: Deflate,
    deflate_agreed: Counter,
    pub(crate) draining: Gauge,
    pub(crate) phase: Gauge,
    incarnations: Counter,
    silent_holders: Counter,
    durable_joins_refused: Counter,
    logins: Counter,
    slow_dropped: Counter,
    offered: Counter,
    /// The same, to be read by `/sysinfo`.
    offered_so_far: AtomicU64,
    enqueued: Counter,
    outcomes_recalled: Counter,
    outcomes_forgotten: Counter,
    pub(crate) rpc_refused: Counter,
    pub(crate) durable_frames: Counter,
    pub(crate) replays: Counter,
    pub(crate) replay_pages: Counter,
    mailbox_retries: Counter,
    pub(crate) mailbox_overdue: Gauge,
    pub(crate) sessions_behind: Gauge,
    pub(crate) receipts_dropped: Counter,
    batches: Vec<(&'static str, Counter)>,
    acks: Vec<(&'static str, Counter)>,
    commands: Vec<(&'static str, Counter)>,
    outbox_bytes: Gauge,
    outbox_total_reached: Counter,
    sessions: Gauge,
    connections: Gauge,
    groups: Gauge,
}

/// Label of connections that ended without a close frame.
const LOST: &str = "lost";
/// Label of close codes that clients make up.
const OTHER: &str = "other";
/// Why connections do not become sessions: an HTTP status, or what kept it from one.
const REFUSALS: [&str; 13] = [
    "400",
    "401",
    "403",
    "405",
    "426",
    "429",
    "431",
    "503",
    "gone",
    "handshake_timeout",
    "already_connected",
    "overrun",
    "admin_full",
];

/// What batches of workers and of other nodes come to.
const BATCH_VERDICTS: [&str; 5] = ["done", "refused", "suspended", "not_here", "malformed"];

impl Metrics {
    pub(crate) fn new() -> Self {
        let exporter = Exporter::new();
        exporter.describe(&COUNTERS, &GAUGES);
        let counter = |name| exporter.counter(name);
        let gauge = |name| exporter.gauge(name);
        let verdicts = exporter.each("gim_batches_total", "verdict", BATCH_VERDICTS);
        let acks = exporter.each("gim_acks_total", "outcome", AckAnswer::ALL.map(AckAnswer::as_str));
        let commands = exporter.each("gim_commands_total", "outcome", ErrorCode::ALL.iter().map(|code| code.name()));
        let metrics = Self {
            accepted: counter("gim_accepted_total"),
            accept_errors: counter("gim_accept_errors_total"),
            bytes_in: counter("gim_received_bytes_total"),
            messages_in: counter("gim_received_messages_total"),
            bad_frames: counter("gim_bad_frames_total"),
            close_timeouts: counter("gim_close_timeouts_total"),
            deflate: Deflate {
                messages: counter("gim_deflate_messages_total"),
                bytes_before: counter("gim_deflate_in_bytes_total"),
                bytes_after: counter("gim_deflate_out_bytes_total"),
            },
            deflate_agreed: counter("gim_deflate_agreed_total"),
            draining: gauge("gim_outboxes_waiting"),
            phase: gauge("gim_phase"),
            incarnations: counter("gim_incarnations_total"),
            silent_holders: counter("gim_silent_holders_total"),
            durable_joins_refused: counter("gim_durable_joins_refused_total"),
            logins: counter("gim_logins_total"),
            slow_dropped: counter("gim_slow_dropped_total"),
            offered: counter("gim_offered_total"),
            offered_so_far: AtomicU64::new(0),
            enqueued: counter("gim_enqueued_total"),
            outcomes_recalled: counter("gim_outcomes_recalled_total"),
            outcomes_forgotten: counter("gim_outcomes_forgotten_total"),
            rpc_refused: counter("gim_rpc_refused_total"),
            durable_frames: counter("gim_durable_frames_total"),
            replays: counter("gim_replays_total"),
            replay_pages: counter("gim_replay_pages_total"),
            mailbox_retries: counter("gim_mailbox_retries_total"),
            mailbox_overdue: gauge("gim_mailbox_overdue"),
            sessions_behind: gauge("gim_sessions_behind"),
            receipts_dropped: counter("gim_receipts_dropped_total"),
            batches: verdicts,
            acks,
            commands,
            outbox_bytes: gauge("gim_outbox_bytes"),
            outbox_total_reached: counter("gim_outbox_total_reached_total"),
            sessions: gauge("gim_sessions"),
            connections: gauge("gim_connections"),
            groups: gauge("gim_groups"),
            exporter,
        };
        metrics.register_labels();
        metrics
    }

    /// Where other parts of this node, the worker for one, register theirs.
    pub(crate) const fn recorder(&self) -> &impl Recorder {
        self.exporter.recorder()
    }

    /// What the admin listener counts.
    pub(crate) fn admin_counters(&self) -> admin::Counters {
        let full = self.labelled("gim_logins_refused_total", "why", "admin_full");
        admin::Counters { accept_errors: self.accept_errors.clone(), full }
    }

    pub(crate) fn logged_in(&self, session: &Session) {
        self.logins.increment(1);
        if session.0.encoding.deflate {
            self.deflate_agreed.increment(1);
        }
        tracing::debug!(uid = %session.uid(), session = %session.id(), fence = %session.fence(), "logged in");
    }

    pub(crate) fn refused(&self, why: &str) {
        self.labelled("gim_logins_refused_total", "why", why).increment(1);
        tracing::debug!(why, "connection refused");
    }

    pub(crate) fn closed(&self, session: &Session, why: &CloseReason) {
        // Codes that clients make up are one label.
        let code = match why.code {
            1006 => LOST,
            code => CloseCode::from_code(code).map_or(OTHER, CloseCode::name),
        };
        self.labelled("gim_closed_total", "code", code).increment(1);
        tracing::debug!(uid = %session.uid(), session = %session.id(), code = why.code, reason = %why.reason, by = ?why.by, "session ended");
    }

    pub(crate) fn slow_dropped(&self, uid: &Uid, frames: u64) {
        self.slow_dropped.increment(frames);
        tracing::debug!(uid = %uid, frames, "slow consumer: oldest frames dropped");
    }

    pub(crate) fn enqueued(&self, ids: &[MessageId]) {
        self.enqueued.increment(ids.len() as u64);
        for id in ids {
            tracing::debug!(message_id = %id, "accepted");
        }
    }

    /// Tells what became of a delivery to one user. Deliveries to groups are told in one line by the worker.
    pub(crate) fn reported(&self, id: &MessageId, uid: &Uid, report: TargetReport) {
        let outcome = match report {
            TargetReport::Done(outcome) => outcome.as_str(),
            TargetReport::NotOwner => "not_owner",
        };
        tracing::debug!(message_id = %id, uid = %uid, outcome, "delivered to the hub");
    }

    /// The node lives under another incarnation from now on. Told by the lease.
    pub(crate) fn incarnated(&self) {
        self.incarnations.increment(1);
    }

    /// Tells how many sessions took a message since the process started.
    pub(crate) fn offered_so_far(&self) -> u64 {
        self.offered_so_far.load(Ordering::Relaxed)
    }

    pub(crate) fn offered(&self, sessions: u64) {
        self.offered.increment(sessions);
        self.offered_so_far.fetch_add(sessions, Ordering::Relaxed);
    }

    /// The node of a superseded session did not answer.
    pub(crate) fn silent_holder(&self) {
        self.silent_holders.increment(1);
    }

    /// A group has as many durable members as it may.
    pub(crate) fn durable_join_refused(&self, uid: &Uid, tgid: &Tgid) {
        tracing::warn!(%uid, %tgid, "the group has as many durable members as it may");
        self.durable_joins_refused.increment(1);
    }

    /// A batch came in and was answered.
    pub(crate) fn batch(&self, verdict: &'static str) {
        count(&self.batches, verdict);
    }

    /// Messages came again and were answered from memory.
    pub(crate) fn outcomes_recalled(&self, messages: u64) {
        self.outcomes_recalled.increment(messages);
    }

    /// Outcomes were forgotten that may be asked for again.
    pub(crate) fn outcomes_forgotten(&self, messages: u64) {
        self.outcomes_forgotten.increment(messages);
    }

    /// A command was offered to business applications.
    pub(crate) fn offered_upstream(&self, uid: &Uid, outcome: &Result<MessageId, UpstreamError>) {
        let word = match outcome {
            Ok(id) => {
                tracing::debug!(%uid, message_id = %id, "command taken upstream");
                "taken"
            }
            Err(error) => {
                tracing::warn!(%uid, error = %error, "command not taken upstream");
                error.kind.as_str()
            }
        };
        self.labelled("gim_upstream_total", "outcome", word).increment(1);
    }

    /// Durable messages will not come, or come again under another epoch.
    pub(crate) fn gap(&self, reason: GapReason, messages: u64) {
        self.labelled("gim_gaps_total", "reason", reason.as_str()).increment(1);
        tracing::debug!(reason = reason.as_str(), messages, "gap in a mailbox");
    }

    /// The store was asked to keep an acknowledgement.
    pub(crate) fn acked(&self, uid: &Uid, answer: AckAnswer) {
        count(&self.acks, answer.as_str());
        if answer != AckAnswer::Done {
            tracing::debug!(%uid, outcome = answer.as_str(), "not acknowledged");
        }
    }

    /// A mailbox was not read and will be asked again.
    pub(crate) fn mailbox_retried(&self, uid: &Uid, error: &MailboxError) {
        self.mailbox_retries.increment(1);
        tracing::debug!(%uid, %error, "a mailbox does not answer");
    }

    pub(crate) fn command_done(&self, outcome: &'static str) {
        count(&self.commands, outcome);
    }

    pub(crate) fn http_done(&self, status: u16) {
        self.exporter.http_done(status);
    }

    /// Condenses the samples of histograms. Left to whoever reads the metrics, they would pile up until somebody does.
    pub(crate) fn upkeep(&self) {
        self.exporter.upkeep();
    }

    /// Renders everything in the text format of Prometheus.
    pub(crate) fn render(&self, now: Snapshot, lanes: &[LaneStats]) -> String {
        self.sessions.set(as_f64(now.sessions));
        self.connections.set(as_f64(now.connections));
        self.groups.set(as_f64(now.groups));
        self.outbox_bytes.set(as_f64(now.outbox_bytes));
        self.outbox_total_reached.absolute(now.outbox_total_reached);
        if let Some(well) = now.redis_is_well {
            self.exporter.gauge("gim_redis_up").set(f64::from(u8::from(well)));
        }
        if let Some(store) = now.store {
            self.exporter.gauge("gim_store_up").set(f64::from(u8::from(store.failures == 0)));
            self.exporter.gauge("gim_store_waiting_rows").set(as_f64(store.waiting));
            self.exporter.counter("gim_store_commits_total").absolute(store.commits);
            self.exporter.counter("gim_store_rows_total").absolute(store.rows);
            self.exporter.counter("gim_store_failures_total").absolute(store.failures);
            self.exporter.counter("gim_store_refused_total").absolute(store.refused);
        }
        if let Some(mailboxes) = now.mailboxes {
            self.exporter.gauge("gim_mailbox_bytes").set(as_f64(mailboxes.bytes));
            self.exporter.counter("gim_mailbox_refused_total").absolute(mailboxes.refused);
        }
        if let Some(cluster) = now.cluster {
            self.exporter.gauge("gim_etcd_up").set(f64::from(u8::from(cluster.etcd_is_well)));
            self.exporter.gauge("gim_nodes").set(as_f64(cluster.nodes));
            self.exporter.gauge("gim_nodes_awaited").set(as_f64(cluster.awaited));
        }
        self.exporter.gauge("gim_followers").set(as_f64(now.followers));
        self.show_logins(&now.logins);
        // Presence is the directory's to write where there is a Redis, and the ledger's where there is none.
        let presence = now.written.presence + now.news.written;
        self.exporter.show_kept(Written { presence, ..now.written }, now.possible_losses);
        if let Some(calls) = now.crowded {
            self.exporter.show_crowded(calls);
        }
        self.exporter.show_full_news(now.news.full);
        self.exporter.render(lanes, now.dropped_log_lines)
    }

    fn show_logins(&self, logins: &LoginFigures) {
        self.exporter.gauge("gim_logins_under_way").set(as_f64(logins.under_way));
        self.exporter.gauge("gim_logins_waiting").set(as_f64(logins.waiting));
        self.exporter.gauge("gim_logins_backlog_seconds").set(as_f64(logins.backlog_ms) / 1e3);
        for (why, count) in PutOff::ALL.iter().zip(logins.put_off) {
            self.labelled("gim_logins_put_off_total", "why", why.as_str()).absolute(count);
        }
    }

    /// A counter that first appears with its first event hides that event from whoever watches its growth.
    fn register_labels(&self) {
        let codes = CloseCode::ALL.iter().map(|code| code.name());
        for code in codes.chain([LOST, OTHER]) {
            self.labelled("gim_closed_total", "code", code).increment(0);
        }
        for why in REFUSALS {
            self.labelled("gim_logins_refused_total", "why", why).increment(0);
        }
        for word in ["taken", "full", "unavailable", "timeout"] {
            self.labelled("gim_upstream_total", "outcome", word).increment(0);
        }
        for reason in [GapReason::Expired, GapReason::Trimmed, GapReason::Reset] {
            self.labelled("gim_gaps_total", "reason", reason.as_str()).increment(0);
        }
    }

    fn labelled(&self, name: &'static str, label: &'static str, value: &str) -> Counter {
        self.exporter.labelled(name, label, value)
    }
}

/// Counts a word of those that handles were made for: a look-up by name for each batch is felt.
fn count(counters: &[(&'static str, Counter)], word: &str) {
    let found = counters.iter().find(|(known, _)| *known == word);
    debug_assert!(found.is_some(), "{word}");
    if let Some((_, counter)) = found {
        counter.increment(1);
    }
}

/// Figures that are read when somebody looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) sessions: u64,
    pub(crate) connections: u64,
    pub(crate) groups: u64,
    pub(crate) redis_is_well: Option<bool>,
    pub(crate) store: Option<StoreFigures>,
    pub(crate) mailboxes: Option<MailboxFigures>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) outbox_bytes: u64,
    pub(crate) outbox_total_reached: u64,
    pub(crate) dropped_log_lines: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) written: Written,
    pub(crate) news: NewsFigures,
    /// None: there is no Redis in this mode.
    pub(crate) possible_losses: Option<u64>,
    pub(crate) crowded: Option<CrowdedCalls>,
    pub(crate) followers: u64,
    pub(crate) logins: LoginFigures,
}

const COUNTERS: [(&str, &str); 39] = [
    ("gim_accepted_total", "connections accepted on the public listener"),
    ("gim_accept_errors_total", "accepts that failed, for want of descriptors as a rule"),
    ("gim_received_bytes_total", "bytes read from sessions"),
    ("gim_received_messages_total", "messages of clients"),
    ("gim_bad_frames_total", "messages of clients that were no request"),
    ("gim_close_timeouts_total", "connections cut because the client did not close in time"),
    ("gim_logins_total", "sessions begun"),
    ("gim_logins_refused_total", "connections that did not become sessions, by status or cause"),
    (
        "gim_logins_put_off_total",
        "logins told to come back because there were too many, by bound; also counted as refused",
    ),
    ("gim_closed_total", "sessions ended, by close code"),
    ("gim_deflate_agreed_total", "logins that agreed on permessage-deflate"),
    (
        "gim_deflate_messages_total",
        "messages of 256 bytes and more to clients that agreed, each once for all who got the same bytes",
    ),
    ("gim_deflate_in_bytes_total", "bytes of these messages"),
    ("gim_deflate_out_bytes_total", "bytes they became; of one that did not become shorter, as many as before"),
    ("gim_slow_dropped_total", "frames dropped because a client read too slowly"),
    ("gim_offered_total", "messages taken by sessions' outboxes"),
    ("gim_enqueued_total", "entries accepted onto the queue, repeats of an id included"),
    ("gim_batches_total", "batches of workers and of other nodes, by verdict"),
    ("gim_outcomes_recalled_total", "messages that came again and were answered from memory"),
    ("gim_outcomes_forgotten_total", "messages whose outcome was forgotten early; one that comes again comes twice"),
    ("gim_rpc_refused_total", "calls on the rpc listener without the token"),
    ("gim_durable_frames_total", "durable pushes handed to sessions' outboxes"),
    ("gim_replays_total", "sessions that found something unacknowledged in their mailbox"),
    ("gim_replay_pages_total", "pages of mailboxes read for sessions that were behind"),
    ("gim_mailbox_retries_total", "reads of mailboxes that failed and were tried again"),
    ("gim_gaps_total", "gaps in mailboxes that sessions met, by reason"),
    ("gim_acks_total", "acknowledgements of clients, by outcome"),
    ("gim_receipts_dropped_total", "receipts dropped because there were too many at once"),
    ("gim_outbox_total_reached_total", "frames that met the bound of all outboxes together"),
    ("gim_commands_total", "commands of clients, by outcome"),
    ("gim_upstream_total", "commands offered to business applications, by outcome"),
    ("gim_incarnations_total", "times the node's lease was lost or redis came back as another run"),
    ("gim_durable_joins_refused_total", "durable joins refused because the group has as many members as it may"),
    ("gim_store_commits_total", "commits to the store; only in mode `local`"),
    ("gim_store_rows_total", "rows written to the store, those that go included; only in mode `local`"),
    ("gim_store_failures_total", "commits the disk did not take; only in mode `local`"),
    ("gim_store_refused_total", "changes not taken because too much waited for the disk; only in mode `local`"),
    ("gim_mailbox_refused_total", "messages that did not fit into all mailboxes together; only in mode `local`"),
    ("gim_silent_holders_total", "users who came back here while the node of their previous session did not answer"),
];
const GAUGES: [(&str, &str); 19] = [
    ("gim_outboxes_waiting", "sessions whose socket did not take everything at once"),
    ("gim_outbox_bytes", "bytes waiting in all outboxes"),
    ("gim_sessions_behind", "sessions with durable messages that they were not handed yet"),
    ("gim_phase", "0 running, 1 not ready, 2 draining queue, 3 draining sessions, 4 stopped"),
    ("gim_sessions", "sessions on this node"),
    ("gim_connections", "connections on the public listener, sessions and others"),
    ("gim_logins_under_way", "logins that have their turn"),
    ("gim_logins_waiting", "logins that wait for their turn"),
    ("gim_logins_backlog_seconds", "when the last of those comes back who were told to come back"),
    ("gim_groups", "groups with members on this node"),
    ("gim_followers", "who looks at what single users do, live"),
    ("gim_redis_up", "1: redis answers and has on record what this node holds; only beyond mode `local`"),
    ("gim_store_up", "1: the disk takes what has to outlive the process; only in mode `local`"),
    ("gim_store_waiting_rows", "rows submitted to the store and not kept; only in mode `local`"),
    (
        "gim_mailbox_overdue",
        "messages with receipts that the last sweep of mailboxes found overdue: from 1000 on it is behind",
    ),
    ("gim_mailbox_bytes", "bytes of durable messages not acknowledged; only in mode `local`"),
    ("gim_etcd_up", "1: etcd answers; only in mode `cluster`"),
    ("gim_nodes", "nodes that live; only in mode `cluster`"),
    ("gim_nodes_awaited", "nodes waited for before anybody counts as offline; only in mode `cluster`"),
];
