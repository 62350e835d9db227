//! The key itself: what is there, and whether it is to be replaced.

use etcd_client::{Client, Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp};

use super::lease::Lease;
use crate::etcd::fault::EtcdError;
use crate::etcd::options::EtcdOptions;
use crate::etcd::registration::Registration;

/// Others may write at the same time, but not for long.
const MOST_ROUNDS: usize = 5;

/// What became of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It stood as it should.
    Stood(i64),
    /// It was written.
    Written(i64),
    /// Another process of the same name that started later has it: it may keep it.
    Taken,
}

/// Something to write under a lease.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) registration: &'a Registration,
    /// It was never written before: it replaces whatever is there, the last one who writes is right.
    pub(super) is_fresh: bool,
}

impl Entry<'_> {
    /// Sees to it that the key stands. What others have written meanwhile is looked at before it is replaced.
    pub(super) async fn stand(
        &self,
        options: &EtcdOptions,
        client: &mut Client,
        lease: Lease,
    ) -> Result<Stand, EtcdError> {
        let text = serde_json::to_vec(self.registration).map_err(|error| EtcdError::refused(Some(Box::new(error))))?;
        for _ in 0..MOST_ROUNDS {
            let found = options.bounded(client.get(self.key, None)).await?;
            let found = found.kvs().first();
            match found {
                Some(pair) if pair.lease() == lease.id() && pair.value() == text => {
                    return Ok(Stand::Stood(pair.mod_revision()));
                }
                Some(pair) if !self.is_fresh && self.yields_to(pair) => return Ok(Stand::Taken),
                _ => {}
            }
            let put = self.put(&text, lease, found.map_or(0, KeyValue::mod_revision));
            let put = options.bounded(client.txn(put)).await?;
            if put.succeeded() {
                return Ok(Stand::Written(put.header().map_or(0, etcd_client::ResponseHeader::revision)));
            }
        }
        Err(EtcdError::refused(None))
    }

    fn put(&self, text: &[u8], lease: Lease, seen: i64) -> Txn {
        // Of a key that is not there the revision is 0.
        let as_seen = Compare::mod_revision(self.key, CompareOp::Equal, seen);
        let put = TxnOp::put(self.key, text, Some(PutOptions::new().with_lease(lease.id())));
        Txn::new().when([as_seen]).and_then([put])
    }

    fn yields_to(&self, pair: &KeyValue) -> bool {
        Registration::read(pair.value()).is_some_and(|there| there.is_later_than(self.registration))
    }
}
