//! Telling the lane's reader that something is due now.

use ::redis::aio::MultiplexedConnection;
use ::redis::{InfoDict, RedisResult, cmd};

use super::Lane;

impl Lane<'_> {
    /// Ends the wait of whoever reads the lane. Nothing is lost if that fails: a wait is short.
    pub(super) async fn wake(&self, connection: &mut MultiplexedConnection) {
        if let Err(error) = self.unblock(connection).await {
            tracing::debug!(lane = self.lane, %error, "the reader was not woken");
        }
    }

    async fn unblock(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut lease = cmd("HMGET");
        lease.arg(self.queue.keys.lease(self.lane)).arg("client").arg("run");
        let (client, run): (Option<u64>, Option<String>) = lease.query_async(connection).await?;
        let Some((client, run)) = client.zip(run) else { return Ok(()) };
        let server: InfoDict = cmd("INFO").arg("server").query_async(connection).await?;
        // Client ids count from 1 in every run: in another one this is somebody else.
        if server.get::<String>("run_id").is_some_and(|now| now == run) {
            cmd("CLIENT").arg("UNBLOCK").arg(client).exec_async(connection).await?;
        }
        Ok(())
    }
}
