//! Messages, clients and servers of the RPC contract, generated from `proto/gim/v1/gim.proto`.
//!
//! Owns the generated code and the step between a [`Fields`] and its RPC form. Only `rpc` modules of other crates name
//! what is in here.

use crate::entry::Fields;

#[expect(missing_docs, clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
mod generated {
    tonic::include_proto!("gim.v1");
}

pub use generated::*;

/// The contract as a serialized `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gim.v1.bin"));

/// The metadata in which a stream of batches says which version it is of, as a decimal number.
pub const VERSION_KEY: &str = "gim-version";

/// The first version in which batches may hold durable messages.
pub const DURABLE_FROM: u32 = 2;

impl From<Fields> for QueueEntry {
    fn from(fields: Fields) -> Self {
        let fields = fields.iter().map(|(name, value)| Field { name: name.to_owned(), value: value.clone() });
        Self { fields: fields.collect() }
    }
}

impl From<QueueEntry> for Fields {
    fn from(entry: QueueEntry) -> Self {
        entry.fields.into_iter().map(|field| (field.name, field.value)).collect()
    }
}
