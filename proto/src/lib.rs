#![doc = include_str!("../README.md")]

// What things are called, and where they are kept.
pub mod ids;
pub mod keys;
pub mod names;

// What is on the queue.
pub mod entry;

// What is on a client's connection.
pub mod codes;
pub mod frame;
pub mod websocket;

// What is between processes.
pub mod rpc;

mod text;

pub use codes::{CloseCode, ErrorCode, Reconnect};
pub use entry::{
    Class, DeadReason, Entry, Fields, MAX_ENTRY_BYTES, MAX_SCHEDULE, MAX_TARGETS, Malformed, MalformedKind, Payload,
    Priority, Target,
};
pub use ids::{EntryId, Fence, Incarnation, SessionId, UlidText};
pub use keys::{Keys, UserKeys, bucket_of, crc16, crc32, lane_of, slot_of};
pub use names::{MessageId, NameError, NameErrorKind, NodeId, Tgid, Uid};
