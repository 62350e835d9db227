//! Plain HTTP/1.1 over a socket, so that a test sees every byte of an answer.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{eventually, within};

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The status of an answer that is an error, after its body was seen to be `{"code","msg"}`.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "body: {}", self.text());
        let body = self.json();
        assert!(body["code"].as_u64().is_some_and(|code| code > 200), "no code in {}", self.text());
        assert!(body["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "no msg in {}", self.text());
        body
    }
}

/// One request with JSON in and out.
pub(crate) async fn request(method: &str, addr: SocketAddr, path: &str, body: Option<&Value>) -> (u16, Value) {
    let response = respond(method, addr, path, &[], body.map(Value::to_string).unwrap_or_default().as_bytes()).await;
    (response.status, response.json())
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> (u16, Value) {
    request("GET", addr, path, None).await
}

pub(crate) async fn post(addr: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    request("POST", addr, path, Some(body)).await
}

/// Accepts messages that must be accepted, and returns their ids.
#[track_caller]
pub(crate) fn push(addr: SocketAddr, body: &Value) -> impl Future<Output = Vec<String>> + use<> {
    let body = body.clone();
    let at = std::panic::Location::caller();
    async move {
        let (status, answer) = post(addr, "/api/v1/messages", &body).await;
        assert_eq!(status, 202, "{at}: {answer}");
        let ids = answer["ids"].as_array().expect("ids");
        ids.iter().map(|id| id.as_str().expect("an id is text").to_owned()).collect()
    }
}

/// A metric without labels.
pub(crate) async fn metric(addr: SocketAddr, name: &str) -> u64 {
    let figures = respond("GET", addr, "/metrics", &[], b"").await.text();
    let mut lines = figures.lines().map(|line| line.split_once(' '));
    let value = lines.find_map(|line| line.filter(|(key, _)| *key == name)).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {figures}"))
}

/// The sum of a figure over all lanes.
async fn figure(addr: SocketAddr, name: &str) -> u64 {
    let (status, queue) = get(addr, "/api/v1/queue").await;
    assert_eq!(status, 200, "{queue}");
    let lanes = queue["lanes"].as_array().expect("lanes");
    lanes.iter().map(|lane| lane[name].as_u64().expect("a figure")).sum()
}

/// Waits until a figure of the queue, summed over its lanes, is this. For what a worker does in its own time.
pub(crate) async fn reached(addr: SocketAddr, name: &str, wanted: u64) {
    let what = format!("the figure {name} to be {wanted}");
    eventually(&what, || async { (figure(addr, name).await == wanted).then_some(()) }).await;
}

/// Waits until everything accepted and due has its outcome.
pub(crate) async fn settled(addr: SocketAddr) {
    eventually("the queue to be settled", || async {
        let (status, queue) = get(addr, "/api/v1/queue").await;
        assert_eq!(status, 200, "{queue}");
        let lanes = queue["lanes"].as_array().expect("lanes");
        let waiting = |lane: &Value| lane["lag"].as_u64().expect("lag") + lane["pending"].as_u64().expect("pending");
        lanes.iter().all(|lane| waiting(lane) == 0).then_some(())
    })
    .await;
}

/// One request with headers and any body.
pub(crate) async fn respond(
    method: &str,
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head.push_str("content-type: application/json\r\n");
        }
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    exchange(addr, &[head.as_bytes(), body].concat()).await
}

/// Sends bytes and reads the answer to them.
pub(crate) async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = TcpStream::connect(addr).await.expect("the listener accepts");
    // A refusal may come before all was sent.
    let _ = stream.write_all(bytes).await;
    read_response(&mut stream).await
}

/// Reads one answer; whatever follows it on the connection is left out.
pub(crate) async fn read_response(stream: &mut TcpStream) -> Response {
    let mut seen = Vec::new();
    within("an HTTP answer", async {
        loop {
            if let Some(response) = parse(&seen, false) {
                return response;
            }
            match stream.read_buf(&mut seen).await {
                Ok(0) | Err(_) => {
                    let shown = String::from_utf8_lossy(&seen).into_owned();
                    return parse(&seen, true).unwrap_or_else(|| panic!("no HTTP answer but {shown:?}"));
                }
                Ok(_) => {}
            }
        }
    })
    .await
}

/// The head of an answer and how many bytes it takes.
pub(crate) fn parse_head(seen: &[u8]) -> Option<(Response, usize)> {
    let end = seen.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&seen[..end]).expect("an HTTP head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a status line");
    assert!(line.starts_with("HTTP/1.1 "), "status line {line:?}");
    let status = line[9..12].parse().expect("a status");
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("header line {line:?}")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some((Response { status, headers, body: Vec::new() }, end + 4))
}

fn parse(seen: &[u8], ended: bool) -> Option<Response> {
    let (mut response, start) = parse_head(seen)?;
    let rest = &seen[start..];
    if response.status == 101 || response.status == 204 {
        return Some(response);
    }
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body = dechunk(rest)?;
        return Some(response);
    }
    match response.header("content-length") {
        Some(length) => {
            let length: usize = length.parse().expect("a length");
            response.body = rest.get(..length)?.to_vec();
        }
        None if ended => response.body = rest.to_vec(),
        None => return None,
    }
    Some(response)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let data = rest.get(end + 2..end + 2 + size)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(data);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}
