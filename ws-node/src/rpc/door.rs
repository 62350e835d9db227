//! Who may call: whoever shows the token, or, without one, programs of this machine.

use std::sync::Arc;

use gim_msg_queue::config::Secret;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::status;
use crate::core::Core;

/// See the module.
#[derive(Clone)]
pub(super) struct Door {
    core: Arc<Core>,
    token: Option<Arc<Secret>>,
}

impl Door {
    pub(super) fn new(core: Arc<Core>, token: Option<Secret>) -> Self {
        Self { core, token: token.map(Arc::new) }
    }

    fn lets_in(&self, request: &Request<()>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = request.metadata().get("authorization");
        shown.and_then(|shown| shown.as_bytes().strip_prefix(b"Bearer ")).is_some_and(|shown| token.matches(shown))
    }
}

impl Interceptor for Door {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.lets_in(&request) {
            return Ok(request);
        }
        self.core.metrics.rpc_refused.increment(1);
        Err(status::closed())
    }
}
