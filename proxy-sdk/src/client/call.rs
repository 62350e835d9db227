//! What every call goes through: room, deadline, handshake.
//!
//! Owns the channel. Never knows what is called: the callers give the method.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gim_proto::rpc::HelloRequest;
use gim_proto::rpc::node_client::NodeClient as Node;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::operate::Hello;
use super::{Address, ClientOptions, VERSIONS, status};
use crate::{Error, ErrorKind};

/// One channel and the bounds of its calls.
pub(super) struct Calls {
    address: Address,
    options: ClientOptions,
    channel: Channel,
    /// One permit stands for [`ClientOptions::SMALLEST`] bytes.
    room: Semaphore,
    permits: u32,
    /// Shown with every call.
    token: Option<AsciiMetadataValue>,
    /// Whether the node behind the connection has accepted our version.
    greeted: AtomicBool,
    greeting: Mutex<()>,
}

impl Calls {
    pub(super) fn new(address: Address, options: ClientOptions) -> Result<Self, Error> {
        let token = options.token.as_deref().map(bearer).transpose()?;
        let permits = permits_for(options.in_flight);
        let channel = address
            .endpoint()
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keep_alive)
            .keep_alive_timeout(options.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Self {
            address,
            options,
            channel,
            room: Semaphore::new(permits as usize),
            permits,
            token,
            greeted: AtomicBool::new(false),
            greeting: Mutex::new(()),
        })
    }

    pub(super) const fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// A call that must end within the deadline of ordinary ones. `bytes`: about the size of the request.
    pub(super) async fn call<Q, A, M, F>(&self, bytes: usize, request: Q, method: M) -> Result<A, Error>
    where
        M: FnOnce(Channel, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_within(self.options.deadline, bytes, request, method).await
    }

    /// A call that must end within the deadline of drains.
    pub(super) async fn drain<Q, A, M, F>(&self, request: Q, method: M) -> Result<A, Error>
    where
        M: FnOnce(Channel, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_within(self.options.drain_deadline, 0, request, method).await
    }

    /// The handshake, whether there was one before or not.
    pub(super) async fn hello(&self) -> Result<Hello, Error> {
        let end = Instant::now() + self.options.deadline;
        let _room = self.room(0, end).await?;
        self.within(end, self.greet(end)).await
    }

    /// The handshake within so much time, unless the node behind the connection has had it.
    pub(super) async fn meet(&self, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        self.within(end, self.ensure_greeted(end)).await
    }

    /// Has the next call shake hands first.
    pub(super) fn doubt(&self) {
        self.greeted.store(false, Ordering::Release);
    }

    /// The same with a deadline of the caller's.
    pub(super) async fn call_within<Q, A, M, F>(
        &self,
        limit: Duration,
        bytes: usize,
        request: Q,
        method: M,
    ) -> Result<A, Error>
    where
        M: FnOnce(Channel, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let end = Instant::now() + limit;
        let _room = self.room(bytes, end).await?;
        let answer = async {
            self.ensure_greeted(end).await?;
            self.send(end, request, method).await
        };
        self.within(end, answer).await
    }

    async fn room(&self, bytes: usize, end: Instant) -> Result<SemaphorePermit<'_>, Error> {
        let permits = permits_for(bytes).min(self.permits);
        match timeout_at(end, self.room.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(Error::with_source(ErrorKind::Internal, "the client takes no calls", closed)),
            Err(_) => {
                let address = &self.address;
                Err(Error::new(ErrorKind::Full, format!("too much is in flight to the node at {address}")))
            }
        }
    }

    async fn within<A>(&self, end: Instant, answer: impl Future<Output = Result<A, Error>>) -> Result<A, Error> {
        timeout_at(end, answer).await.unwrap_or_else(|elapsed| Err(status::no_answer(&self.address, elapsed)))
    }

    async fn ensure_greeted(&self, end: Instant) -> Result<(), Error> {
        if self.greeted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _turn = self.greeting.lock().await;
        if !self.greeted.load(Ordering::Acquire) {
            self.greet(end).await?;
        }
        Ok(())
    }

    async fn greet(&self, end: Instant) -> Result<Hello, Error> {
        let range = HelloRequest { min_version: *VERSIONS.start(), max_version: *VERSIONS.end() };
        let hello = |channel, request| async move { Node::new(channel).hello(request).await };
        let hello = Hello::read(self.send(end, range, hello).await?)?;
        self.greeted.store(true, Ordering::Release);
        Ok(hello)
    }

    /// A request that shows what every call shows.
    pub(super) fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    async fn send<Q, A, M, F>(&self, end: Instant, request: Q, method: M) -> Result<A, Error>
    where
        M: FnOnce(Channel, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = self.request(request);
        // Told to the node too, so that it does not work for somebody who has left.
        request.set_timeout(end.saturating_duration_since(Instant::now()));
        match method(self.channel.clone(), request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let error = status::error(status, &self.address);
                if error.kind == ErrorKind::Unavailable {
                    // What answers at this address next may be another version.
                    self.doubt();
                }
                Err(error)
            }
        }
    }
}

fn bearer(token: &str) -> Result<AsciiMetadataValue, Error> {
    let unfit = |_| Error::new(ErrorKind::Invalid, "a token is made of visible ASCII characters");
    let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}")).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

fn permits_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ClientOptions::SMALLEST)).unwrap_or(u32::MAX).clamp(1, 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_requests_count_as_one_and_large_ones_by_their_size() {
        assert_eq!(permits_for(0), 1);
        assert_eq!(permits_for(ClientOptions::SMALLEST), 1);
        assert_eq!(permits_for(ClientOptions::SMALLEST + 1), 2);
        assert_eq!(permits_for(ClientOptions::default().in_flight), 256);
        assert_eq!(permits_for(usize::MAX), 1 << 20);
    }
}
