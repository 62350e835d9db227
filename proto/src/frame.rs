//! Frames of a client connection: JSON texts, one per WebSocket message.
//!
//! Owns reading a client's frame and writing a server's, keys in their order, both dialects. A server frame is appended
//! to a buffer from parts that are bytes already; a payload is taken in as it is. Never sees a socket or a session.

mod client;
mod notice;

pub use client::{ClientFrame, FrameError, MAX_CMD, MAX_SEQ};
pub use notice::{GapReason, Notice, notice};

use crate::codes::ErrorCode;
use crate::names::MessageId;
use crate::text::push_json;

/// How errors look and whether there are notices. Chosen by the path of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/acc`: as old clients know it.
    Acc,
    /// `/ws`: errors have `s` 0, pushes have ids, notices come.
    Ws,
}

/// What a server frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MsgType {
    /// The answer to a command.
    Reply = 1,
    /// A push to a group, several groups or everybody.
    Group = 2,
    /// A push to a user.
    User = 3,
    /// News about the connection itself.
    Notice = 4,
}

/// Appends a push. `a` is a JSON object. Offsets count from 1.
pub fn push(out: &mut Vec<u8>, kind: MsgType, id: Option<&MessageId>, offset: Option<u64>, a: &[u8]) {
    push_head(out, kind, id, offset);
    push_body(out, a);
}

/// Appends the first part of a push, which is one recipient's own.
pub fn push_head(out: &mut Vec<u8>, kind: MsgType, id: Option<&MessageId>, offset: Option<u64>) {
    out.push(b'{');
    head(out, "", "", kind);
    if let Some(id) = id {
        // None of its characters has to be escaped.
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(id.as_bytes());
        out.push(b'"');
    }
    if let Some(offset) = offset {
        out.extend_from_slice(b",\"offset\":");
        push_json(out, &offset);
    }
}

/// Appends the second part of a push, the same for all recipients.
pub fn push_body(out: &mut Vec<u8>, a: &[u8]) {
    response(out, 1, |out| out.extend_from_slice(a));
    out.push(b'}');
}

/// Appends a reply to a command. `a` is JSON.
pub fn reply(out: &mut Vec<u8>, seq: &str, cmd: &str, a: &[u8]) {
    out.push(b'{');
    head(out, seq, cmd, MsgType::Reply);
    response(out, 1, |out| out.extend_from_slice(a));
    out.push(b'}');
}

/// Appends a reply that says why a command was not done.
pub fn error(out: &mut Vec<u8>, dialect: Dialect, seq: &str, cmd: &str, code: ErrorCode, msg: &str) {
    out.push(b'{');
    head(out, seq, cmd, MsgType::Reply);
    let s = match dialect {
        Dialect::Acc => 1,
        Dialect::Ws => 0,
    };
    response(out, s, |out| {
        out.extend_from_slice(b"{\"system\":{");
        if dialect == Dialect::Acc {
            // Old clients look for this spelling.
            out.extend_from_slice(b"\"errror\":{\"type\":0,\"msg\":");
            push_json(out, msg);
            out.extend_from_slice(b"},");
        }
        out.extend_from_slice(b"\"error\":{\"code\":");
        push_json(out, &code.code());
        out.extend_from_slice(b",\"msg\":");
        push_json(out, msg);
        out.extend_from_slice(b"}}}");
    });
    out.push(b'}');
}

fn head(out: &mut Vec<u8>, seq: &str, cmd: &str, kind: MsgType) {
    out.extend_from_slice(b"\"seq\":");
    push_json(out, seq);
    out.extend_from_slice(b",\"cmd\":");
    push_json(out, cmd);
    out.extend_from_slice(b",\"msgType\":");
    push_json(out, &(kind as u8));
}

fn response(out: &mut Vec<u8>, s: u8, a: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b",\"response\":{\"s\":");
    push_json(out, &s);
    out.extend_from_slice(b",\"a\":");
    a(out);
    out.push(b'}');
}
