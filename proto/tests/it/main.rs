//! What other programs rely on, held still: exact bytes, every rule of every decoder, and properties of both.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

mod client_frames;
mod close_codes;
mod entries;
mod entry_json;
mod ids;
mod keys;
mod names;
mod properties;
mod rpc;
mod server_frames;
mod websocket;
