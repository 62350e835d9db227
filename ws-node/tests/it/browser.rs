//! The page of the public listener, used in a real Chromium against a real node.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::connect_async;

use crate::support::DEADLINE;
use crate::support::chromium::Page;
use crate::support::http::{metric, request};
use crate::support::node::TestNode;

/// Well beyond the page's longest pause before it connects again.
const LONG: Duration = Duration::from_secs(600);

const CONNECTED: &str = "document.getElementById('state').dataset.state === 'connected'";

#[tokio::test]
async fn the_page_connects_and_shows_the_welcome() {
    let node = TestNode::start().await;
    let mut page = Page::open(&format!("http://{}/", node.public)).await;
    let uid = page.eval("document.getElementById('uid').value").await;
    assert!(uid.as_str().is_some_and(|uid| uid.len() == 9 && uid.starts_with("user-")), "{uid}");

    page.click("connect").await;
    page.wait_for(CONNECTED, DEADLINE).await;

    assert!(page.text("#state").await.contains(uid.as_str().unwrap()));
    assert!(!page.text("#welcome [data-fact=node]").await.is_empty());
    assert_eq!(page.text("#welcome [data-fact=session]").await.len(), 26);
    assert!(page.text("#welcome [data-fact=fence]").await.parse::<u64>().unwrap() > 0);
    assert!(page.text("#welcome [data-fact=ping]").await.ends_with(" s"));
    page.wait_for("document.querySelector('#log li[data-kind=notice] pre')", DEADLINE).await;
}

#[tokio::test]
async fn a_push_to_its_uid_appears_with_its_payload() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "anna").await;
    let curl = format!(
        "curl -sS http://{}/api/v1/messages -H 'content-type: application/json' \
         -d '{{\"to_uid\":\"anna\",\"data\":{{\"hello\":\"world\"}}}}'",
        node.admin
    );
    assert_eq!(page.text("#curl").await, curl);

    // More digits than a JavaScript number holds: the page shows what was sent, not what it parsed.
    let data = json!({ "hello": "world", "order": 12_345_678_901_234_567_u64 });
    let id = push(&node, json!({ "to_uid": "anna", "data": data })).await;

    assert_eq!(payload(&mut page, "user", &id).await, data);
}

#[tokio::test]
async fn a_group_push_arrives_after_joining_the_group() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "ben").await;
    join(&mut page, "chess").await;
    page.eval(
        "{ const to = document.getElementById('target'); to.value = 'chess'; to.dispatchEvent(new Event('change')); }",
    )
    .await;
    assert!(page.text("#curl").await.contains(r#"{"tgid":"chess","data":"#));

    let data = json!({ "move": "e4" });
    let id = push(&node, json!({ "tgid": "chess", "data": data })).await;
    assert_eq!(payload(&mut page, "group", &id).await, data);

    page.click("leave").await;
    page.wait_for("document.querySelectorAll('#groups li').length === 0", DEADLINE).await;
}

#[tokio::test]
async fn a_browser_agrees_on_compression_and_sees_no_difference() {
    let node = TestNode::start_with(|config| config.session.deflate = true).await;
    let mut page = connected(node.public, "ida").await;
    let before = metric(node.admin, "gim_received_bytes_total").await;
    let other = format!(
        "new Promise((done) => {{
            const other = new WebSocket('ws://{}/ws?uid=other&msg_code=1');
            other.onopen = () => other.send(JSON.stringify({{ seq: 'long', cmd: 'x', data: {{ text: 'a'.repeat(50000) }} }}));
            other.onmessage = (event) => {{
                if (JSON.parse(event.data).seq !== 'long') return;
                done(other.extensions);
                other.close();
            }};
        }})",
        node.public
    );
    let agreed = page.eval(&other).await;
    assert!(agreed.as_str().is_some_and(|agreed| agreed.starts_with("permessage-deflate")), "{agreed}");
    let sent = metric(node.admin, "gim_received_bytes_total").await - before;
    assert!(sent < 10_000, "the browser compresses too: it sent {sent} bytes");
    join(&mut page, "chess").await;
    let data = json!({ "moves": "e4 e5 Nf3 Nc6 Bb5 a6 Ba4 Nf6 O-O Be7 ".repeat(100) });
    let live = push(&node, json!({ "tgid": "chess", "data": data })).await;
    assert_eq!(payload(&mut page, "group", &live).await, data);
    let durable = push(&node, json!({ "to_uid": "ida", "class": "durable", "data": data })).await;
    assert_eq!(payload(&mut page, "user", &durable).await, data);
}

#[tokio::test]
async fn markup_is_shown_as_text_wherever_it_comes_from() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "%3Ci%3Eeve%3C%2Fi%3E").await;
    join(&mut page, "<b>bold</b>").await;
    let html = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>";
    let data = json!({ "html": html });
    let id = push(&node, json!({ "tgid": "<b>bold</b>", "data": data })).await;

    assert_eq!(payload(&mut page, "group", &id).await, data);
    assert!(page.text("#state").await.contains("<i>eve</i>"));
    assert_eq!(page.text("#groups li").await, "<b>bold</b>");
    let built = "document.querySelectorAll('#log img, #log script, #groups b, #target b, #state i, #curl b').length";
    assert_eq!(page.eval(built).await, json!(0));
    assert_eq!(page.eval("window.pwned ?? null").await, Value::Null);
}

#[tokio::test]
async fn malformed_data_shows_an_error_and_keeps_the_connection() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "carl").await;
    for malformed in ["{\"text\":", "[1]", "7"] {
        page.eval("document.getElementById('error').textContent = ''").await;
        page.fill("data", malformed).await;
        page.click("send").await;
        assert!(page.text("#error").await.starts_with("data "), "{malformed}");
        assert_eq!(page.eval("document.getElementById('data').ariaInvalid").await, json!("true"));
    }

    page.click("ping").await;
    page.wait_for("document.querySelector('#log li[data-kind=reply]')", DEADLINE).await;
    assert_eq!(page.eval("document.querySelectorAll('#log li[data-kind=sent]').length").await, json!(1));
    assert_eq!(page.text("#error").await, "");
    assert_eq!(page.eval(CONNECTED).await, json!(true));
    assert_eq!(page.sockets_opened().await, 1);
}

#[tokio::test]
async fn a_kicked_page_says_4503_and_does_not_reconnect() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "dora").await;

    let (status, answer) = request("DELETE", node.admin, "/api/v1/users/dora/session", None).await;
    assert!((200..300).contains(&status), "{status} {answer}");

    stays_closed(&mut page, "4503").await;
}

#[tokio::test]
async fn a_replaced_page_says_4501_and_stays_closed() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "emil").await;

    let newcomer = format!("ws://{}/ws?uid=emil&msg_code=1", node.public);
    let _newcomer = connect_async(newcomer).await.unwrap();

    stays_closed(&mut page, "4501").await;
}

#[tokio::test]
async fn a_cut_connection_is_resumed_with_its_groups() {
    let node = TestNode::start().await;
    let link = Link::to(node.public).await;
    let mut page = connected(link.address, "fay").await;
    join(&mut page, "chess").await;
    let first = page.text("#welcome [data-fact=session]").await;

    link.cut();

    let another = format!("{CONNECTED} && document.querySelector('[data-fact=session]').textContent !== '{first}'");
    page.wait_for(&another, DEADLINE).await;
    assert_eq!(page.text("#groups").await, "chess");
    let data = json!({ "move": "e5" });
    let id = push(&node, json!({ "tgid": "chess", "data": data })).await;
    assert_eq!(payload(&mut page, "group", &id).await, data);
}

#[tokio::test]
async fn a_whole_visit_leaves_the_console_clean_and_the_policy_unbroken() {
    let node = TestNode::start().await;
    let mut page = connected(node.public, "gil").await;
    join(&mut page, "chess").await;
    let id = push(&node, json!({ "to_uid": "gil", "data": { "hello": "world" } })).await;
    payload(&mut page, "user", &id).await;
    page.fill("cmd", "no.such.command").await;
    page.click("send").await;
    page.wait_for("document.getElementById('error').textContent.includes('20004')", DEADLINE).await;
    page.click("disconnect").await;
    page.wait_for("document.getElementById('state').dataset.state === 'closed'", DEADLINE).await;

    assert_eq!(page.complaints().await, Vec::<String>::new());
}

/// Opens the page and connects as `uid` (percent-encoded).
async fn connected(public: SocketAddr, uid: &str) -> Page {
    let mut page = Page::open(&format!("http://{public}/?uid={uid}")).await;
    page.click("connect").await;
    page.wait_for(CONNECTED, DEADLINE).await;
    page
}

async fn join(page: &mut Page, tgid: &str) {
    page.fill("tgid", tgid).await;
    page.click("join").await;
    let joined =
        format!("[...document.querySelectorAll('#groups li')].some((li) => li.textContent === {})", json!(tgid));
    page.wait_for(&joined, DEADLINE).await;
}

/// Enqueues one message and returns its id.
async fn push(node: &TestNode, message: Value) -> String {
    let (status, answer) = request("POST", node.admin, "/api/v1/messages", Some(&message)).await;
    assert_eq!(status, 202, "{answer}");
    answer["ids"][0].as_str().unwrap().to_owned()
}

/// Awaits the push of that id in the log and returns its payload as shown.
async fn payload(page: &mut Page, kind: &str, id: &str) -> Value {
    let entry = format!("document.querySelector('#log li[data-kind={kind}][data-id=\"{id}\"] pre').textContent");
    let text = page.wait_for(&entry, DEADLINE).await;
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// Awaits the close, lets a long time pass in the page, and sees that it opened no other socket.
async fn stays_closed(page: &mut Page, code: &str) {
    page.wait_for(&format!("document.getElementById('state').dataset.code === '{code}'"), DEADLINE).await;
    let state = page.text("#state").await;
    assert!(state.contains(code) && state.contains("does not reconnect"), "{state}");

    page.pass(LONG).await;

    assert_eq!(page.eval("document.getElementById('state').dataset.state").await, json!("closed"));
    assert_eq!(page.sockets_opened().await, 1);
}

/// A TCP link to a node that can be cut while the node lives on.
struct Link {
    address: SocketAddr,
    cuts: watch::Sender<()>,
}

impl Link {
    async fn to(node: SocketAddr) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, node, cut.clone()));
            }
        });
        Link { address, cuts }
    }

    /// Cuts every connection that is open now; later ones pass.
    fn cut(&self) {
        self.cuts.send_replace(());
    }
}

async fn carry(mut near: TcpStream, node: SocketAddr, mut cut: watch::Receiver<()>) {
    cut.mark_unchanged();
    let mut far = TcpStream::connect(node).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.changed() => {}
    }
}
