//! A login: from a request for a session to the session, or to the answer why not.
//!
//! Owns the order: the request is checked, the application asked, the session put into the hub, the uid claimed, the
//! previous owner told to end, the mailbox opened, and only then the 101 written. Nothing addressed to the new session falls between.
//! What few logins come to is boxed: all others would have room for it, and move it.

use std::future::poll_fn;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;

use gim_proto::codes::CloseCode;
use gim_proto::websocket::{self, DEFLATE_ACCEPTED};
use gim_proto::{SessionId, Tgid};
use gim_proxy_sdk::directory::{Claim, ClaimRequest, Found, NodeRef, Owner};
use gim_proxy_sdk::mailbox::{Arrival, MailboxError, Opened, Position, Scope};
use http::StatusCode;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::head::SessionRequest;
use super::holder::{self, HOLDER_PROBE, Holder};
use super::{Permit, Turn, answer};
use crate::core::Core;
use crate::embed::{Identity, Refusal, UpgradeRequest};
use crate::reassert;
use crate::session::{self, Encoding, Opening, Session, Values};

/// What a login ends with.
enum Login {
    Granted {
        groups: Vec<Tgid>,
        opened: Opened,
        /// Another session had the uid until now.
        is_successor: bool,
    },
    /// The uid is connected already and stays so. Told after the 101: a browser cannot see an HTTP status.
    AlreadyConnected,
}

pub(super) async fn login(
    core: Arc<Core>,
    socket: TcpStream,
    permit: Permit,
    request: SessionRequest,
    leftover: Vec<u8>,
    deadline: Instant,
) {
    let mut has_waited = false;
    let (key, turn) = match noticing(let_in(&core, &permit, &request, deadline), &mut has_waited).await {
        Ok(let_in) => let_in,
        Err(refusal) => return Box::pin(answer::refuse(&core, &socket, &refusal, core.settings.handshake)).await,
    };
    // Asking the kernel is felt where logins take some 30 us: not where no time has passed.
    if has_waited && has_left(&socket) {
        // It had to wait longer than it wanted to.
        core.metrics.refused("gone");
        return;
    }
    // What the rest takes is allocated only now: ten thousand may wait for their turn.
    let upgrade = request.upgrade;
    Box::pin(in_turn(core, Upgrading { socket, permit, key, turn, upgrade, leftover, deadline })).await;
}

/// A connection that has its turn to become a session.
struct Upgrading {
    socket: TcpStream,
    permit: Permit,
    /// The client's, of RFC 6455.
    key: String,
    turn: Turn,
    upgrade: UpgradeRequest,
    leftover: Vec<u8>,
    deadline: Instant,
}

async fn in_turn(core: Arc<Core>, upgrading: Upgrading) {
    let Upgrading { socket, permit, key, turn, upgrade, leftover, deadline } = upgrading;
    // The claim has the directory's own deadline: one that is given up half way may have been granted.
    let mut has_waited = false;
    let admitting = noticing(admit(&core, &upgrade), &mut has_waited);
    let admitted = tokio::time::timeout_at(deadline, admitting).await;
    let late = || Err(Refusal::unavailable("the login took too long", 1));
    let identity = match admitted.unwrap_or_else(|_| late()) {
        Ok(identity) => identity,
        Err(refusal) => return refuse(&core, turn, &socket, &refusal).await,
    };
    if has_waited && has_left(&socket) {
        // It is back elsewhere by now, perhaps: this claim would end what it has there.
        core.metrics.refused("gone");
        return;
    }
    let deflate = core.settings.deflate && upgrade.lines("sec-websocket-extensions").any(websocket::offers_deflate);
    let encoding = Encoding { dialect: upgrade.dialect, text: upgrade.query("msg_code") == Some("1"), deflate };
    let resume = upgrade.query("session").and_then(|id| SessionId::parse(id).ok());
    let arrival = match arrival(&upgrade) {
        Ok(arrival) => arrival,
        Err(refusal) => return refuse(&core, turn, &socket, &refusal).await,
    };
    let acks = upgrade.query("ack") == Some("1");
    let attributes = (!identity.attributes.0.is_empty()).then(|| Box::new(identity.attributes));
    let opening = Opening { uid: identity.uid, encoding, peer: upgrade.peer, socket, attributes, permit, acks };
    drop(upgrade);
    let session = Session::claiming(Arc::clone(&core), opening);
    core.hub.users.begin_claim(&session);
    let mut turn = Some(turn);
    match claim(&core, &session, resume, arrival, &mut turn).await {
        Ok(login) => begin(&core, session, &key, login, leftover),
        Err(refusal) => {
            core.hub.users.abandon_claim(&session);
            Box::pin(session.take_down()).await;
            refuse(&core, turn, session.refuse_login(), &refusal).await;
        }
    }
}

/// Ends the turn first: whoever reads its refusal slowly holds up nobody.
async fn refuse(core: &Core, turn: impl Into<Option<Turn>>, socket: &TcpStream, refusal: &Refusal) {
    drop(turn.into());
    // Boxed: it is rare, and has a buffer.
    Box::pin(answer::refuse(core, socket, refusal, core.settings.handshake)).await;
}

/// Where the client says it stands in its mailbox. Without an epoch it says nothing.
fn arrival(request: &UpgradeRequest) -> Result<Arrival, Refusal> {
    const MOST: u64 = 1 << 53;
    let number = |key: &'static str| match request.query(key) {
        None | Some("") => Ok(0),
        Some(text) => match text.parse() {
            Ok(number) if number < MOST => Ok(number),
            _ => Err(Refusal::bad_request(format!("{key} must be a whole number"))),
        },
    };
    let at = Position { epoch: number("epoch")?, offset: number("offset")? };
    Ok(if at.epoch == 0 { Arrival::Anew } else { Arrival::Resumes(at) })
}

/// Whether the client has closed the connection meanwhile, as far as the kernel knows: the runtime may not have heard yet.
fn has_left(socket: &TcpStream) -> bool {
    match rustix::net::recv(socket.as_fd(), &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((read, _)) => read == 0,
        Err(error) => error != Errno::AGAIN && error != Errno::INTR,
    }
}

/// Checks everything that can be known of the request alone, and waits for its turn: there may be very many.
async fn let_in(
    core: &Core,
    permit: &Permit,
    request: &SessionRequest,
    deadline: Instant,
) -> Result<(String, Turn), Refusal> {
    permit.check()?;
    let key = check_upgrade(request)?;
    is_open(core)?;
    Ok((key, core.admission.turn(deadline).await?))
}

/// Takes note whether a future had to wait for something.
async fn noticing<F: Future>(future: F, has_waited: &mut bool) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        *has_waited |= polled.is_pending();
        polled
    })
    .await
}

/// Asks the application, before the uid is claimed.
async fn admit(core: &Core, request: &UpgradeRequest) -> Result<Identity, Refusal> {
    is_open(core)?;
    core.handlers.authorize(request).await
}

fn is_open(core: &Core) -> Result<(), Refusal> {
    if core.takes_logins() { Ok(()) } else { Err(Refusal::unavailable("the node is stopping", 1)) }
}

/// Returns the client's key if the request is an upgrade as RFC 6455, section 4.2.1, wants it.
fn check_upgrade(request: &SessionRequest) -> Result<String, Refusal> {
    let SessionRequest { is_get, upgrade } = request;
    if !is_get {
        return Err(Refusal::of_status(StatusCode::METHOD_NOT_ALLOWED, "sessions are opened with GET"));
    }
    if !upgrade.lists("upgrade", "websocket") || !upgrade.lists("connection", "upgrade") {
        return Err(Refusal::of_status(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket only"));
    }
    if upgrade.header("sec-websocket-version") != Some("13") {
        return Err(Refusal::of_status(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is spoken"));
    }
    match upgrade.header("sec-websocket-key") {
        Some(key) if is_key(key) => Ok(key.to_owned()),
        _ => Err(Refusal::bad_request("sec-websocket-key is missing or malformed")),
    }
}

/// 16 bytes in base64.
fn is_key(key: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Claims the uid. A holder that is being taken down is waited for: its client has lost it already.
async fn claim(
    core: &Arc<Core>,
    session: &Session,
    resume: Option<SessionId>,
    arrival: Arrival,
    turn: &mut Option<Turn>,
) -> Result<Login, Refusal> {
    let give_up = Instant::now() + HOLDER_PROBE;
    loop {
        let released = core.next_release();
        let node = core.node();
        let request = ClaimRequest {
            uid: session.uid().clone(),
            node: NodeRef::clone(&node),
            session: session.id(),
            on_duplicate: core.settings.on_duplicate,
            resume,
        };
        // Notes are taken of what is newer than the values that are found.
        let values = session.note_values();
        let claimed = match arrival {
            Arrival::Anew => core.directory.claim_and_open(request).await,
            _ => core.directory.claim(request).await.map(|claim| (claim, None)),
        };
        match claimed {
            Ok((Claim::Granted { fence, previous, groups }, found)) => {
                session.own(fence);
                let found = found.map(|found| opened(session, values, &found));
                let restored = Restored { groups: &groups, found, arrival };
                let login = granted(core, session, previous.as_ref(), restored, turn).await;
                // Only now: from here on whoever records everything anew finds it in the hub.
                stay_on_record(core, session, &node);
                return login;
            }
            Ok((Claim::Taken { owner }, _)) => {
                match Box::pin(holder::ask_in_turn(core, session, &owner, turn)).await? {
                    Holder::Stays => return Ok(Login::AlreadyConnected),
                    Holder::Leaves if Box::pin(holder::wait_for_release(core, &owner, released, give_up)).await => {}
                    Holder::Leaves => {
                        return Err(Refusal::unavailable("the previous connection is being taken down", 1));
                    }
                }
            }
            Err(error) => {
                tracing::warn!(uid = %session.uid(), error = %error, "claim failed");
                return Err(Refusal::unavailable("the directory does not answer", 1));
            }
        }
    }
}

/// Records a claim again that was granted to an incarnation that is over by now.
fn stay_on_record(core: &Arc<Core>, session: &Session, claimed_as: &NodeRef) {
    if *core.node() != *claimed_as {
        reassert::until_done(core, session);
    }
}

/// What a session that owns the uid begins with.
struct Restored<'a> {
    groups: &'a [Tgid],
    /// The mailbox, where it was opened with the claim: there are no groups then.
    found: Option<Opened>,
    arrival: Arrival,
}

/// Offers the values that were found with the claim.
fn opened(session: &Session, mut values: Values, found: &Found) -> Opened {
    if !found.values.is_empty() {
        values.add(&Scope::User(session.uid().clone()), &found.values);
    }
    values.offer();
    found.opened
}

async fn granted(
    core: &Arc<Core>,
    session: &Session,
    previous: Option<&Owner>,
    restored: Restored<'_>,
    turn: &mut Option<Turn>,
) -> Result<Login, Refusal> {
    // Before anything is routed here: a message to a group finds its member, and waits in the outbox like all others.
    // One on another node is told at the same time: neither waits for what the other meets.
    let (here, elsewhere): (Option<&Owner>, Option<&Owner>) = match previous {
        Some(previous) if core.has_lived_as(&previous.node.incarnation) => (Some(previous), None),
        previous => (None, previous),
    };
    if let Some(held) = here.and_then(|here| core.hub.session(session.uid(), here.session)) {
        // It goes on until this one has all that it begins with, but nothing new is routed to it.
        held.supersede();
    }
    let settled = async {
        let settled = match restored.found {
            Some(found) => Ok(found),
            None => {
                let restore = async {
                    session.restore_groups(restored.groups).await;
                    // Only now: what was appended before is in there, and what comes later finds the session.
                    settle(session, restored.arrival).await
                };
                Box::pin(restore).await
            }
        };
        // What is left costs neither the directory nor the mailboxes anything: to wait for a node that may be silent, for
        // `HOLDER_PROBE` at most. Whoever does has all that it will have as a session, and is bounded like these, by
        // `limits.connections`; the outbox in which messages wait meanwhile by `session.outbox_bytes`.
        drop(turn.take());
        settled
    };
    let (settled, ()) = tokio::join!(settled, replace(core, session, elsewhere));
    if settled.is_ok()
        && let Some(superseded) = core.hub.users.activate(session)
    {
        superseded.close(CloseCode::Replaced, "replaced by a newer connection");
    }
    replace(core, session, here).await;
    let opened = settled.map_err(|error| {
        tracing::warn!(uid = %session.uid(), %error, "the mailbox was not opened");
        Refusal::unavailable("the mailboxes do not answer", 1)
    })?;
    Ok(Login::Granted { groups: session.groups(), opened, is_successor: previous.is_some() })
}

/// Opens the mailbox and offers the last values of the user and the groups.
async fn settle(session: &Session, arrival: Arrival) -> Result<Opened, MailboxError> {
    let opened = session.open_mailbox(arrival).await?;
    let groups = session.groups().into_iter().map(Scope::Group);
    let scopes = std::iter::once(Scope::User(session.uid().clone())).chain(groups);
    session.read_values(scopes.collect()).await?.offer();
    Ok(opened)
}

async fn replace(core: &Core, session: &Session, previous: Option<&Owner>) {
    if let Some(previous) = previous {
        Box::pin(holder::replace(core, session, previous)).await;
    }
}

/// Writes the 101 and lets the session run.
fn begin(core: &Arc<Core>, session: Session, key: &str, login: Login, leftover: Vec<u8>) {
    // With room for the welcome behind it.
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
    );
    head.extend_from_slice(derive_accept_key(key.as_bytes()).as_bytes());
    if session.0.encoding.deflate {
        head.extend_from_slice(b"\r\nsec-websocket-extensions: ");
        head.extend_from_slice(DEFLATE_ACCEPTED.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    match login {
        Login::Granted { groups, opened, is_successor } => {
            core.metrics.logged_in(&session);
            session.tell_login(&groups);
            session.activate(head, groups, Some(&opened));
            if is_successor {
                // What was told to the one before, after this one has looked, is nobody else's to notice.
                session.doubt_mailbox();
            }
            if !core.takes_logins() {
                // The node began to stop after it was let in, and may have looked for sessions before this was one.
                session.close_with_hint(CloseCode::Restarting, "the node is stopping", core.settings.drain.hint_spread);
            }
        }
        Login::AlreadyConnected => {
            core.metrics.refused("already_connected");
            core.hub.users.abandon_claim(&session);
            session.activate(head, Vec::new(), None);
            session.close(CloseCode::AlreadyConnected, "this user is connected already");
        }
    }
    core.sessions.spawn(session::run(session, leftover));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn no_login_has_room_for_what_few_come_to() {
        let bytes = size_of_future(in_turn);
        assert!(bytes <= 2_048, "every login has {bytes} bytes of memory of its own, and moves them");
    }
}
