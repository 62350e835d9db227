//! A real Chromium, driven over its DevTools protocol: one process and one page per test.
//!
//! Owns the process and its profile folder and ends both on drop. Never sleeps: a condition is awaited
//! inside the page, from one animation frame to the next. A missing browser fails the test and says
//! how to install it; nothing is skipped.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::ChildStderr;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long the browser may take to start, and to answer one call.
const PATIENCE: Duration = Duration::from_secs(30);

/// Browsers at a time: each is several processes, and a starved one would miss its deadlines.
static SEATS: Semaphore = Semaphore::const_new(2);

/// Runs before the page's own script: counts sockets and keeps what the content policy refused.
const WATCH: &str = "
    window.watch = { opened: 0, refused: [] };
    window.WebSocket = class extends WebSocket {
        constructor(...address) { super(...address); window.watch.opened += 1; }
    };
    addEventListener('securitypolicyviolation', (event) =>
        window.watch.refused.push(`${event.violatedDirective} ${event.blockedURI}`));
";

/// One page of a browser of its own.
pub(crate) struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    events: Vec<Value>,
    // Declared in the order they end: the process first, then its seat is free.
    _process: Process,
    _seat: SemaphorePermit<'static>,
}

impl Page {
    /// Starts a browser and loads `url` in it.
    pub(crate) async fn open(url: &str) -> Page {
        let seat = SEATS.acquire().await.expect("never closed");
        let mut process = Process::spawn();
        let address = process.devtools_address().await;
        let (socket, _) = connect_async(address).await.expect("devtools takes the connection");
        let mut page = Page { socket, session: None, last_id: 0, events: Vec::new(), _process: process, _seat: seat };
        page.attach().await;
        page.call("Page.navigate", json!({ "url": url })).await;
        page.wait_for("document.readyState === 'complete'", PATIENCE).await;
        page
    }

    /// Evaluates an expression in the page, awaiting it if it is a promise.
    pub(crate) async fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|error| panic!("`{expression}`: {error}"))
    }

    /// Awaits an expression that becomes true in the page, and returns its value.
    pub(crate) async fn wait_for(&mut self, condition: &str, deadline: Duration) -> Value {
        let wait = format!(
            "new Promise((resolve, reject) => {{
                const end = performance.now() + {};
                const look = () => {{
                    let value;
                    try {{ value = ({condition}); }} catch {{ /* not there yet */ }}
                    if (value) resolve(value);
                    else if (performance.now() > end) reject(new Error('the deadline passed'));
                    else requestAnimationFrame(look);
                }};
                look();
            }})",
            deadline.as_millis()
        );
        match timeout(deadline + PATIENCE, self.try_eval(&wait)).await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                let page = self.eval("document.body.innerText").await;
                panic!("waited for `{condition}`: {error}; the page says:\n{}", page.as_str().unwrap_or(""))
            }
            Err(_) => panic!("waited for `{condition}`: the browser does not answer"),
        }
    }

    /// Clicks the element of that id.
    pub(crate) async fn click(&mut self, id: &str) {
        self.eval(&format!("document.getElementById({}).click()", json!(id))).await;
    }

    /// Replaces the value of the field of that id, as typing does.
    pub(crate) async fn fill(&mut self, id: &str, value: &str) {
        let (id, value) = (json!(id), json!(value));
        self.eval(&format!(
            "{{ const field = document.getElementById({id}); field.value = {value};
                field.dispatchEvent(new Event('input', {{ bubbles: true }})); }}"
        ))
        .await;
    }

    /// Returns the text of the first element that matches a selector.
    pub(crate) async fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({}).textContent", json!(selector))).await;
        text.as_str().expect("text").to_owned()
    }

    /// Lets the page's timers run through `time` at once. Time stands still in the page afterwards: only `eval` is of use then.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let budget = u64::try_from(time.as_millis()).expect("a short time");
        self.call("Emulation.setVirtualTimePolicy", json!({ "policy": "advance", "budget": budget })).await;
        self.event("Emulation.virtualTimeBudgetExpired").await;
    }

    /// Counts the WebSockets that the page has opened.
    pub(crate) async fn sockets_opened(&mut self) -> u64 {
        self.eval("window.watch.opened").await.as_u64().expect("a count")
    }

    /// Returns errors and warnings of the console, uncaught exceptions and refusals of the content policy.
    pub(crate) async fn complaints(&mut self) -> Vec<String> {
        let refused = self.eval("window.watch.refused").await;
        let mut complaints: Vec<String> = self.events.iter().filter_map(complaint).collect();
        complaints.extend(refused.as_array().into_iter().flatten().map(|refusal| format!("policy: {refusal}")));
        complaints
    }

    async fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let wish = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", wish).await;
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({})).await;
        }
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await;
    }

    async fn try_eval(&mut self, expression: &str) -> Result<Value, String> {
        let wish = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", wish).await;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details["exception"]["description"].to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).await.expect("the browser listens");
        loop {
            let mut message = self.next(method).await;
            if message["id"] != self.last_id {
                self.events.push(message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
            return message["result"].take();
        }
    }

    async fn event(&mut self, method: &str) {
        while !self.events.iter().any(|event| event["method"] == method) {
            let message = self.next(method).await;
            self.events.push(message);
        }
    }

    async fn next(&mut self, awaited: &str) -> Value {
        let message = timeout(PATIENCE * 2, self.socket.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{awaited}: the browser does not answer"));
        let message = message.expect("the browser lives").expect("devtools speaks WebSocket");
        serde_json::from_slice(&message.into_data()).unwrap_or(Value::Null)
    }
}

/// Words a DevTools event as a complaint, if it is one.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(format!("exception: {}", params["exceptionDetails"])),
        "Runtime.consoleAPICalled" if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) => {
            Some(format!("console: {}", params["args"]))
        }
        "Log.entryAdded" if matches!(params["entry"]["level"].as_str(), Some("error" | "warning")) => {
            Some(format!("log: {}", params["entry"]["text"]))
        }
        _ => None,
    }
}

/// The browser's process group and profile folder.
struct Process {
    child: Child,
    profile: PathBuf,
    stderr: Option<Lines<BufReader<ChildStderr>>>,
}

impl Process {
    fn spawn() -> Process {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gim-chromium-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let profile = std::env::temp_dir().join(name);
        std::fs::create_dir(&profile).expect("a fresh profile folder");
        let spawned = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-port=0", "--no-proxy-server"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            let _ = std::fs::remove_dir_all(&profile);
            panic!("cannot start `chromium` ({error}): install it with `apt-get install -y chromium`")
        });
        let stderr = child.stderr.take().expect("piped");
        let stderr = ChildStderr::from_std(stderr).expect("a runtime is here");
        Process { child, profile, stderr: Some(BufReader::new(stderr).lines()) }
    }

    async fn devtools_address(&mut self) -> String {
        let mut lines = self.stderr.take().expect("asked once");
        let mut said = Vec::new();
        let search = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return Some(address.trim().to_owned());
                }
                said.push(line);
            }
            None
        };
        let found = timeout(PATIENCE, search).await.ok().flatten();
        // Read on, so that a talkative browser never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        found.unwrap_or_else(|| panic!("chromium opened no DevTools port; it said:\n{}", said.join("\n")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        // A helper process may still be on its way out with a file in its hand.
        for _ in 0..1000 {
            if std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                break;
            }
            std::thread::yield_now();
        }
    }
}
