//! Puts messages on a node's queue over HTTP, one keep-alive connection, one request at a time.
//!
//! Written by hand because who measures has no runtime, and should not stand on what it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{Result, ws};

const DEADLINE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Poster {
    stream: TcpStream,
    admin: SocketAddr,
    /// A header line, or nothing.
    authorization: String,
}

impl Poster {
    /// Connects to an admin listener that asks for no token.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(admin: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&admin, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, admin, authorization: String::new() })
    }

    /// Shows a token from now on.
    #[must_use]
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        self
    }

    /// `POST /api/v1/messages`, one message or a list of them.
    ///
    /// # Errors
    /// Anything but 202.
    pub fn enqueue(&mut self, message: &Value) -> Result<()> {
        match self.exchange("POST", "/api/v1/messages", &message.to_string())? {
            (202, _) => Ok(()),
            (status, body) => Err(format!("the node answered {status}: {body}").into()),
        }
    }

    /// `GET /sysinfo`
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub fn sysinfo(&mut self) -> Result<Value> {
        let (_, body) = self.exchange("GET", "/sysinfo", "")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// `GET /metrics`
    ///
    /// # Errors
    /// No answer.
    pub fn metrics(&mut self) -> Result<String> {
        Ok(self.exchange("GET", "/metrics", "")?.1)
    }

    /// `GET /readyz`
    ///
    /// # Errors
    /// No answer.
    pub fn is_ready(&mut self) -> Result<bool> {
        Ok(self.exchange("GET", "/readyz", "")?.0 == 200)
    }

    fn exchange(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.admin,
            self.authorization,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::with_capacity(1_024);
        let head = self.read_until(&mut answer, ws::head_end)?;
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        let status = text.get(9..12).ok_or("no status line")?.parse()?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let end = head + length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
        self.read_until(&mut answer, |answer| (answer.len() >= end).then_some(end))?;
        Ok((status, String::from_utf8_lossy(&answer[head..end]).into_owned()))
    }

    fn read_until(&mut self, answer: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Result<usize> {
        let mut chunk = [0; 4_096];
        loop {
            if let Some(end) = found(answer) {
                return Ok(end);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err("the node closed its admin connection".into()),
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
