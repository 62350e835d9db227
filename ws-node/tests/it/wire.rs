//! What goes over a client's connection, row by row of the wire's description: exact bytes, on both paths, as text and
//! as binary.

mod closes;
mod codes;
mod commands;
mod errors;
mod handlers;
mod notices;
mod pushes;
mod raw_pushes;
mod statuses;

use serde_json::Value;

use crate::support::node::TestNode;
use crate::support::raw::{BINARY, Raw, TEXT, text};

/// How a client connects.
#[derive(Clone, Copy, Debug)]
struct Form {
    path: &'static str,
    text: bool,
}

const FORMS: [Form; 4] = [
    Form { path: "/acc", text: true },
    Form { path: "/acc", text: false },
    Form { path: "/ws", text: true },
    Form { path: "/ws", text: false },
];

impl Form {
    fn is_ws(self) -> bool {
        self.path == "/ws"
    }

    /// The opcode of everything the server sends.
    fn opcode(self) -> u8 {
        if self.text { TEXT } else { BINARY }
    }

    /// `,"id":"..."` where this form has it.
    fn id(self, id: &str) -> String {
        if self.is_ws() { format!(r#""id":"{id}","#) } else { String::new() }
    }

    fn query(self, uid: &str) -> String {
        let code = if self.text { "&msg_code=1" } else { "" };
        format!("{}?uid={uid}{code}", self.path)
    }

    /// Connects; the welcome is taken.
    async fn connect(self, node: &TestNode, uid: &str) -> Raw {
        let mut client = Raw::connect(node.public, &self.query(uid)).await;
        if self.is_ws() {
            let welcome = client.frame().await;
            assert_eq!(welcome.opcode, self.opcode());
            assert!(welcome.text().contains(r#""cmd":"gim.welcome""#), "{}", welcome.text());
        }
        client
    }

    /// Sends a request and expects exactly this.
    async fn exchange(self, client: &mut Raw, request: &str, wanted: &str) {
        client.send(&text(request.as_bytes())).await;
        client.expect(self.opcode(), wanted.as_bytes()).await;
    }

    /// Sends a request, expects the error with this code in this form's dialect, and returns its text.
    async fn refused(self, client: &mut Raw, request: &[u8], seq: &str, cmd: &str, code: u64) -> String {
        client.send(&text(request)).await;
        let frame = client.frame().await;
        assert_eq!(frame.opcode, self.opcode());
        let found: Value = serde_json::from_str(frame.text()).expect("JSON");
        let msg = found["response"]["a"]["system"]["error"]["msg"].as_str().expect("an error has a text").to_owned();
        let quoted = Value::from(msg.as_str());
        let (seq, cmd) = (Value::from(seq), Value::from(cmd));
        let wanted = if self.is_ws() {
            format!(
                r#"{{"seq":{seq},"cmd":{cmd},"msgType":1,"response":{{"s":0,"a":{{"system":{{"error":{{"code":{code},"msg":{quoted}}}}}}}}}}}"#
            )
        } else {
            format!(
                r#"{{"seq":{seq},"cmd":{cmd},"msgType":1,"response":{{"s":1,"a":{{"system":{{"errror":{{"type":0,"msg":{quoted}}},"error":{{"code":{code},"msg":{quoted}}}}}}}}}}}"#
            )
        };
        assert_eq!(frame.text(), wanted);
        assert!(!msg.is_empty(), "an error without a text");
        msg
    }
}
