//! The verbs of [`RunProxy`] and [`LocalProxy`] inside a node.
//!
//! Owns the verbs, and the way of a send within this node. What is not here is [`elsewhere`]'s.

mod elsewhere;

use self::elsewhere::Ask;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gim_proto::codes::CloseCode;
use gim_proto::{Class, Fields, MAX_ENTRY_BYTES, MessageId, Payload, Tgid, Uid};
use gim_proxy_sdk::delivery::{Addressed, Delivery, Message, Recipients, Report, TargetReport};
use gim_proxy_sdk::directory::Freshness;
use gim_proxy_sdk::{Body, Error, ErrorKind, LocalProxy, Outcome, RunProxy, Sent};
use serde_json::Value;
use smallvec::smallvec;

use crate::core::Core;
use crate::hub::Fans;
use crate::session::{JoinError, Session};

/// Sends from inside a node. Clones are cheap; a handle that outlives its node answers `Unavailable`.
#[derive(Clone)]
pub struct Proxy {
    core: Weak<Core>,
}

impl Proxy {
    pub(crate) const fn new(core: Weak<Core>) -> Self {
        Self { core }
    }

    fn core(&self) -> Result<Arc<Core>, Error> {
        self.core.upgrade().ok_or_else(|| Error::new(ErrorKind::Unavailable, "the node has stopped"))
    }

    fn session(&self, uid: &Uid) -> Result<Option<Session>, Error> {
        Ok(self.core()?.hub.users.active(uid).filter(|session| !session.is_closing()))
    }

    /// Sends to one user of this node, if given only as a member of a group.
    async fn to_user_here(&self, uid: &Uid, of: Option<&Tgid>, body: Body) -> Result<Sent, Error> {
        let message = message(MessageId::mint(), body, None)?;
        let Some(session) = self.session(uid)? else {
            return Ok(Sent { id: message.id.clone(), outcome: Outcome::Offline, sessions: 0 });
        };
        let report = self.offer(&message, addressed(&session, of)).await?;
        Ok(sent(&message, summary(&report)))
    }

    /// Sends to this node's members of a group.
    async fn to_group_here(&self, tgid: &Tgid, body: Body, except: Option<&Uid>) -> Result<Sent, Error> {
        let message = message(MessageId::mint(), body, except)?;
        let report = self.offer(&message, Recipients::Groups(vec![tgid.clone()])).await?;
        Ok(sent(&message, summary(&report)))
    }

    /// Offers a message to sessions of this node.
    async fn offer(&self, message: &Arc<Message>, to: Recipients) -> Result<Report, Error> {
        let core = self.core()?;
        let delivery = Delivery { entry: None, message: Arc::clone(message), to };
        // Direct sends go on while Redis is away: without a guard nothing holds them up.
        let reports = core.hub.deliver(&[delivery], &Fans::default(), None).await.unwrap_or_default();
        let report = reports.into_iter().next().unwrap_or(Report::Count { offered: 0, slow: 0 });
        let (outcome, sessions) = summary(&report);
        core.metrics.offered(sessions);
        tracing::debug!(message_id = %message.id, outcome = outcome.as_str(), sessions, "direct send");
        Ok(report)
    }

    async fn stop_here(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        let Some(session) = self.session(uid)? else { return Ok(false) };
        Ok(session.close(CloseCode::Kicked, if reason.is_empty() { "kicked" } else { reason }))
    }

    async fn join_here(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        let Some(session) = self.session(uid)? else { return Ok(false) };
        online(session.join_group(tgid).await)
    }

    async fn join_durably_here(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        let Some(session) = self.session(uid)? else { return Ok(false) };
        online(session.join_group_durably(tgid).await)
    }

    /// Makes a user a member who is not connected, as far as is known. Returns whether it is.
    async fn join_durably_away(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        const LOOKS: u32 = 10;
        const PAUSE: Duration = Duration::from_millis(50);
        let core = self.core()?;
        if !core.join_durably(uid, tgid).await? {
            return online(Err(JoinError::Full { most: core.settings.durable_members }));
        }
        // From here on each login learns of it. Whoever came before, and meanwhile, has to be told.
        for _ in 0..LOOKS {
            if self.join_group(uid, tgid).await? {
                return Ok(true);
            }
            let owner = core.directory.lookup(std::slice::from_ref(uid), Freshness::Current).await?;
            if owner.first().is_none_or(Option::is_none) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(false)
    }

    async fn leave_here(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        let Some(session) = self.session(uid)? else { return Ok(false) };
        online(session.leave_group(tgid).await.map(|_was_member| ()))
    }
}

fn addressed(session: &Session, of: Option<&Tgid>) -> Recipients {
    let to = Addressed { uid: session.uid().clone(), session: session.id(), fence: session.fence() };
    recipients(to, of)
}

fn recipients(to: Addressed, of: Option<&Tgid>) -> Recipients {
    match of {
        Some(tgid) => Recipients::Member { to, of: vec![tgid.clone()] },
        None => Recipients::Sessions(smallvec![to]),
    }
}

fn sent(message: &Message, (outcome, sessions): (Outcome, u64)) -> Sent {
    Sent { id: message.id.clone(), outcome, sessions }
}

/// # Errors
/// The body is larger than an entry of the queue may be.
fn message(id: MessageId, body: Body, except: Option<&Uid>) -> Result<Arc<Message>, Error> {
    let payload = match body {
        Body::Response(json) => Payload::Json(json),
        Body::Raw(bytes) => Payload::Raw(bytes),
    };
    check_size(&payload)?;
    let except = except.cloned().into_iter().collect();
    Ok(Arc::new(Message {
        id,
        class: Class::Live,
        key: None,
        payload,
        except,
        expires_ms: None,
        receipt: false,
        traced: false,
    }))
}

fn summary(report: &Report) -> (Outcome, u64) {
    match report {
        Report::Targets(targets) => match targets.first() {
            Some(TargetReport::Done(outcome)) => (*outcome, u64::from(*outcome == Outcome::Offered)),
            // It ended while the message was on its way.
            Some(TargetReport::NotOwner) | None => (Outcome::Offline, 0),
        },
        Report::Count { offered: 0, slow: 0 } => (Outcome::Offline, 0),
        Report::Count { offered: 0, .. } => (Outcome::Slow, 0),
        Report::Count { offered, .. } => (Outcome::Offered, *offered),
    }
}

/// A direct send is bounded like an entry of the queue.
fn check_size(payload: &Payload) -> Result<(), Error> {
    let (Payload::Json(bytes) | Payload::Raw(bytes)) = payload;
    if bytes.len() <= MAX_ENTRY_BYTES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("a body is at most {MAX_ENTRY_BYTES} bytes")))
}

/// A response body is a JSON object; see the wire's `data`.
fn response(data: &Value) -> Result<Body, Error> {
    if !data.is_object() {
        return Err(Error::new(ErrorKind::Invalid, "data must be a JSON object"));
    }
    Ok(Body::Response(Bytes::from(data.to_string())))
}

#[async_trait]
impl RunProxy for Proxy {
    async fn send_res_data_to_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error> {
        self.to_user(uid, None, response(data)?).await
    }

    async fn send_res_data_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error> {
        self.to_user(uid, Some(tgid), response(data)?).await
    }

    async fn send_res_data_to_group(&self, tgid: &Tgid, data: &Value, except: Option<&Uid>) -> Result<Sent, Error> {
        self.to_group(tgid, response(data)?, except).await
    }

    async fn send_msg_to_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error> {
        self.to_user(uid, None, Body::Raw(message)).await
    }

    async fn send_msg_to_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error> {
        self.to_user(uid, Some(tgid), Body::Raw(message)).await
    }

    async fn send_msg_to_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error> {
        self.to_group(tgid, Body::Raw(message), except).await
    }

    async fn stop_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        match self.stop_here(uid, reason).await? {
            true => Ok(true),
            false => self.elsewhere(uid, Ask::Stop { reason }).await,
        }
    }

    async fn join_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        match self.join_here(uid, tgid).await? {
            true => Ok(true),
            false => self.elsewhere(uid, Ask::Join { tgid }).await,
        }
    }

    async fn join_group_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        let is_online =
            self.join_durably_here(uid, tgid).await? || self.elsewhere(uid, Ask::JoinDurably { tgid }).await?;
        if is_online { Ok(true) } else { self.join_durably_away(uid, tgid).await }
    }

    async fn leave_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        let was_online = self.leave_here(uid, tgid).await? || self.elsewhere(uid, Ask::Leave { tgid }).await?;
        if was_online { Ok(true) } else { Ok(self.core()?.directory.leave_durably(uid, tgid).await?) }
    }

    async fn enqueue(&self, entries: Vec<Fields>) -> Result<Vec<MessageId>, Error> {
        Ok(self.core()?.enqueue(entries).await?)
    }
}

fn online(outcome: Result<(), JoinError>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(JoinError::Ended) => Ok(false),
        Err(error @ (JoinError::Name(_) | JoinError::TooMany { .. })) => {
            Err(Error::new(ErrorKind::Invalid, error.to_string()))
        }
        Err(error @ JoinError::Full { .. }) => Err(Error::new(ErrorKind::Full, error.to_string())),
        Err(JoinError::Directory(error)) => Err(error.into()),
        Err(JoinError::Values(_)) => Err(Error::new(ErrorKind::Unavailable, "the mailboxes do not answer")),
    }
}

#[async_trait]
impl LocalProxy for Proxy {
    async fn send_res_data_to_local_user(&self, uid: &Uid, data: &Value) -> Result<Sent, Error> {
        self.to_user_here(uid, None, response(data)?).await
    }

    async fn send_res_data_to_local_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, data: &Value) -> Result<Sent, Error> {
        self.to_user_here(uid, Some(tgid), response(data)?).await
    }

    async fn send_res_data_to_local_group(
        &self,
        tgid: &Tgid,
        data: &Value,
        except: Option<&Uid>,
    ) -> Result<Sent, Error> {
        self.to_group_here(tgid, response(data)?, except).await
    }

    async fn send_msg_to_local_user(&self, uid: &Uid, message: Bytes) -> Result<Sent, Error> {
        self.to_user_here(uid, None, Body::Raw(message)).await
    }

    async fn send_msg_to_local_user_by_tgid(&self, uid: &Uid, tgid: &Tgid, message: Bytes) -> Result<Sent, Error> {
        self.to_user_here(uid, Some(tgid), Body::Raw(message)).await
    }

    async fn send_msg_to_local_group(&self, tgid: &Tgid, message: Bytes, except: Option<&Uid>) -> Result<Sent, Error> {
        self.to_group_here(tgid, Body::Raw(message), except).await
    }

    async fn stop_local_user_client(&self, uid: &Uid, reason: &str) -> Result<bool, Error> {
        self.stop_here(uid, reason).await
    }

    async fn join_local_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.join_here(uid, tgid).await
    }

    async fn join_local_group_durably(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.join_durably_here(uid, tgid).await
    }

    async fn leave_local_group(&self, uid: &Uid, tgid: &Tgid) -> Result<bool, Error> {
        self.leave_here(uid, tgid).await
    }
}
