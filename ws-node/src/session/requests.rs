//! What clients ask: the built-in commands, the application's, and what is wrong with a request.
//!
//! Owns the answer to one message. Commands of a session are handled one at a time, in order, each with a deadline;
//! a handler that panics or is late costs its request alone.

use std::sync::atomic::{AtomicU64, Ordering};

use gim_proto::codes::{CloseCode, ErrorCode};
use gim_proto::frame::{self, ClientFrame, FrameError};
use gim_proto::{MessageId, Tgid};
use gim_proxy_sdk::upstream::{Command, UpstreamErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Session;
use super::durable::AckAnswer;
use super::handle::JoinError;
use super::values::Values;
use crate::embed::{Context, Frame, HandlerError};
use crate::node::RESERVED;

/// How often a session did what it may do only so often.
#[derive(Debug, Default)]
pub(super) struct Rates {
    bad_frames: Window,
    joins: Window,
}

/// Counts within one span of time after another: the number of the span in the upper half, the count in the lower. Only
/// the session's own task counts.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    /// Counts one more and returns how many there are in this span.
    fn count(&self, now_ms: u64, span_ms: u64) -> u32 {
        const LOWER: u64 = u32::MAX as u64;
        let number = (now_ms / span_ms) & LOWER;
        let before = self.0.load(Ordering::Relaxed);
        let count = if before >> 32 == number { (before & LOWER).saturating_add(1).min(LOWER) } else { 1 };
        self.0.store((number << 32) | count, Ordering::Relaxed);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// What a command is answered with, as JSON.
struct Reply(Vec<u8>);

impl Reply {
    fn of(answer: &impl Serialize) -> Self {
        // A value of JSON, or one of the plain structs below: they always serialise.
        Self(serde_json::to_vec(answer).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Ping {
    now_ms: u64,
}

/// The group that was joined or left.
#[derive(Serialize)]
struct Group<'a> {
    tgid: &'a Tgid,
}

/// The id of a command that business applications will read.
#[derive(Serialize)]
struct Offered<'a> {
    id: &'a str,
}

impl Session {
    /// Handles one message of the client.
    pub(super) async fn handle(&self, message: Frame) {
        let core = &self.0.core;
        core.metrics.messages_in.increment(1);
        if core.handlers.takes_frames() && core.handlers.took_frame(self, message.clone()).await {
            return;
        }
        match ClientFrame::decode(message.bytes()) {
            Ok(request) => self.answer(request).await,
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, error: &FrameError) {
        let core = &self.0.core;
        core.metrics.bad_frames.increment(1);
        tracing::debug!(uid = %self.0.uid, detail = %error.detail, "bad frame");
        self.reply_error(&error.seq, &error.cmd, error.code, &error.detail);
        let this_minute = self.0.rates.bad_frames.count(core.clock.elapsed_ms(), 60_000);
        if this_minute >= core.settings.bad_frames_per_minute {
            self.close(CloseCode::BadFrames, "too many bad frames");
        }
    }

    async fn answer(&self, mut request: ClientFrame) {
        let data = request.data.take();
        // Follow the answer to a join.
        let mut values = None;
        let outcome = match request.cmd.as_str() {
            "gim.ping" => Ok(Reply::of(&Ping { now_ms: self.0.core.clock.unix_ms() })),
            "gim.join" => self.answer_join(data.as_ref(), &mut values).await,
            "gim.leave" => self.answer_leave(data.as_ref()).await,
            "gim.ack" => match self.answer_ack(data.as_ref(), !request.seq.is_empty()).await {
                // A successful ack is silent unless asked.
                Ok(_) if request.seq.is_empty() => {
                    self.tell_command(&request.cmd, "", ErrorCode::Ok);
                    return;
                }
                other => other,
            },
            _ => self.answer_command(&request, data).await,
        };
        let code = outcome.as_ref().map_or_else(|error| error.code, |_| ErrorCode::Ok);
        self.tell_command(&request.cmd, &request.seq, code);
        match outcome {
            Ok(Reply(reply)) => {
                self.0.core.metrics.command_done(ErrorCode::Ok.name());
                let mut text = Vec::with_capacity(128);
                frame::reply(&mut text, &request.seq, &request.cmd, &reply);
                self.reply(self.0.encoding.opcode(), &text);
            }
            Err(error) => {
                self.0.core.metrics.command_done(error.code.name());
                self.reply_error(&request.seq, &request.cmd, error.code, &error.message);
            }
        }
        let _offered = values.map(Values::offer);
    }

    async fn answer_command(
        &self,
        request: &ClientFrame,
        data: Option<Map<String, Value>>,
    ) -> Result<Reply, HandlerError> {
        let core = &self.0.core;
        let Some(handler) = core.handlers.command(&request.cmd) else {
            return self.offer_upstream(request, data).await;
        };
        let context = Context::new(self.clone(), core.proxy(), &request.seq, &request.cmd);
        let data = data.map_or(Value::Null, Value::Object);
        let answered = crate::embed::guarded(core.settings.handler_deadline, || handler(context, data)).await;
        answered.map(|answer| Reply::of(&answer))
    }

    /// Hands a command to business applications. Whoever asked learns that they have it; what they answer is a push.
    async fn offer_upstream(
        &self,
        request: &ClientFrame,
        data: Option<Map<String, Value>>,
    ) -> Result<Reply, HandlerError> {
        let core = &self.0.core;
        // Names that begin like the node's own are nobody else's.
        let Some(upstream) = core.upstream.as_ref().filter(|_| !request.cmd.starts_with(RESERVED)) else {
            return Err(HandlerError::new(ErrorCode::NoHandleMsg, "no handler for this command"));
        };
        let command = Command {
            id: MessageId::mint(),
            uid: self.0.uid.clone(),
            session: self.0.id,
            seq: request.seq.clone(),
            cmd: request.cmd.clone(),
            data: data.map_or(Value::Null, Value::Object).to_string().into(),
            node: core.node().id.clone(),
            at_ms: core.clock.unix_ms(),
        };
        let offered = tokio::time::timeout(core.settings.handler_deadline, upstream.offer(command)).await;
        let outcome = offered.unwrap_or_else(|_| Err(UpstreamErrorKind::Timeout.into()));
        core.metrics.offered_upstream(&self.0.uid, &outcome);
        match outcome {
            Ok(id) => Ok(Reply::of(&Offered { id: id.as_str() })),
            Err(error) => Err(upstream_error(error.kind)),
        }
    }

    async fn answer_join(
        &self,
        data: Option<&Map<String, Value>>,
        values: &mut Option<Values>,
    ) -> Result<Reply, HandlerError> {
        let core = &self.0.core;
        let most = core.settings.joins_per_second;
        if most > 0 && self.0.rates.joins.count(core.clock.elapsed_ms(), 1_000) > most {
            return Err(HandlerError::new(
                ErrorCode::RateLimited,
                format!("a session joins at most {most} groups a second"),
            ));
        }
        let tgid = tgid(data)?;
        let entered = match data.and_then(|data| data.get("durable")) {
            None | Some(Value::Null | Value::Bool(false)) => self.enter_group(&tgid).await,
            Some(Value::Bool(true)) => self.enter_group_durably(&tgid).await,
            Some(_) => return Err(params("durable must be true or false")),
        };
        *values = Some(entered.map_err(refused)?);
        Ok(Reply::of(&Group { tgid: &tgid }))
    }

    async fn answer_leave(&self, data: Option<&Map<String, Value>>) -> Result<Reply, HandlerError> {
        let tgid = tgid(data)?;
        self.leave_group(&tgid).await.map_err(refused)?;
        Ok(Reply::of(&Group { tgid: &tgid }))
    }

    async fn answer_ack(&self, data: Option<&Map<String, Value>>, is_asked: bool) -> Result<Reply, HandlerError> {
        let field = |name| data.and_then(|data| data.get(name));
        let Some(offset) = field("offset").and_then(Value::as_u64) else {
            return Err(params("offset must be a whole number"));
        };
        let epoch = field("epoch").map(|epoch| epoch.as_u64().ok_or_else(|| params("epoch must be a whole number")));
        let answer = self.ack(offset, epoch.transpose()?, is_asked).await;
        match answer {
            AckAnswer::Done => Ok(Reply::of(&Map::new())),
            AckAnswer::TooHigh => Err(params("offset is above the highest written on this session")),
            AckAnswer::OtherEpoch => Err(params("the mailbox is of another epoch")),
            AckAnswer::Superseded => Err(HandlerError::new(ErrorCode::UserOffline, "another connection has the user")),
            AckAnswer::Unavailable => {
                Err(HandlerError::new(ErrorCode::HandlerFailed, "the mailbox does not answer, it is tried again"))
            }
        }
    }

    fn reply_error(&self, seq: &str, cmd: &str, code: ErrorCode, message: &str) {
        let mut text = Vec::with_capacity(160);
        frame::error(&mut text, self.0.encoding.dialect, seq, cmd, code, message);
        self.reply(self.0.encoding.opcode(), &text);
    }
}

fn upstream_error(kind: UpstreamErrorKind) -> HandlerError {
    match kind {
        UpstreamErrorKind::Full => HandlerError::new(ErrorCode::SendChanFull, "too many commands wait to be read"),
        UpstreamErrorKind::Unavailable => {
            HandlerError::new(ErrorCode::HandlerFailed, "the command was not taken, try again")
        }
        UpstreamErrorKind::Timeout => {
            HandlerError::new(ErrorCode::HandlerTimeout, "whether the command was taken is not known")
        }
    }
}

fn tgid(data: Option<&Map<String, Value>>) -> Result<Tgid, HandlerError> {
    let Some(tgid) = data.and_then(|data| data.get("tgid")).and_then(Value::as_str) else {
        return Err(params("tgid is missing"));
    };
    Tgid::parse(tgid).map_err(|error| params(&error.to_string()))
}

fn params(message: &str) -> HandlerError {
    HandlerError::new(ErrorCode::ParamsError, message)
}

fn refused(error: JoinError) -> HandlerError {
    let code = match error {
        JoinError::Name(_) | JoinError::TooMany { .. } | JoinError::Full { .. } => ErrorCode::ParamsError,
        JoinError::Ended => ErrorCode::UserOffline,
        JoinError::Directory(_) | JoinError::Values(_) => ErrorCode::HandlerFailed,
    };
    HandlerError::new(code, error.to_string())
}
