//! What each message costs to read and write: queue entries, frames of clients and to them, WebSocket headers and masks,
//! the keys that a login asks for.
//! The inputs are the same in every run.
#![expect(clippy::unwrap_used, reason = "a bench that meets the unexpected fails loudly")]

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gim_proto::frame::{self, ClientFrame, MsgType, Notice};
use gim_proto::websocket::{self, Opcode, parse_header, unmask, write_header};
use gim_proto::{Entry, Fence, Fields, Incarnation, Keys, MessageId, NodeId, SessionId, Target, Tgid, Uid, bucket_of};

fn main() {
    divan::main();
}

/// `{"text":"xxx..."}` of so many bytes.
fn json(bytes: usize) -> Vec<u8> {
    format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes.saturating_sub(11))).into_bytes()
}

fn entry(target: &str, value: &str, bytes: usize) -> Fields {
    let mut fields = Fields::default();
    fields.push("id", "order-4711");
    fields.push(target, value.to_owned());
    fields.push("data", json(bytes));
    fields.push("ttl_ms", "60000");
    fields
}

#[divan::bench(args = [128, 4_096])]
fn entry_to_a_user(bencher: Bencher<'_, '_>, bytes: usize) {
    let fields = entry("to_uid", "user-4711", bytes);
    bencher.counter(BytesCount::new(fields.bytes())).bench(|| {
        let entry = Entry::decode(black_box(&fields)).unwrap();
        assert!(matches!(entry.target, Target::User(_) | Target::Users(_)));
        entry
    });
}

#[divan::bench(args = [10, 1_000])]
fn entry_to_a_list(bencher: Bencher<'_, '_>, users: usize) {
    let list: Vec<String> = (0..users).map(|user| format!("\"user-{user}\"")).collect();
    let fields = entry("to_uids", &format!("[{}]", list.join(",")), 128);
    bencher.counter(ItemsCount::new(users)).bench(|| {
        let entry = Entry::decode(black_box(&fields)).unwrap();
        assert!(matches!(&entry.target, Target::Users(uids) if uids.len() == users));
        entry
    });
}

#[divan::bench(args = [128, 4_096])]
fn push_as_a_websocket_frame(bencher: Bencher<'_, '_>, bytes: usize) {
    let (a, id) = (json(bytes), MessageId::parse("order-4711").unwrap());
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        let mut text = Vec::with_capacity(a.len() + 128);
        frame::push(&mut text, MsgType::User, Some(&id), None, black_box(&a));
        let frame: Bytes = websocket::frame(Opcode::Text, &text);
        assert!(frame.len() > bytes);
        frame
    });
}

#[divan::bench(args = [2, 1_024])]
fn command_of_a_client(bencher: Bencher<'_, '_>, bytes: usize) {
    let data = String::from_utf8(json(bytes)).unwrap();
    let frame = format!(r#"{{"seq":"17","cmd":"chat.say","data":{data}}}"#);
    bencher.counter(BytesCount::new(frame.len())).bench(|| {
        let read = ClientFrame::decode(black_box(frame.as_bytes())).unwrap();
        assert_eq!(read.cmd, "chat.say");
        read
    });
}

#[divan::bench]
fn reply_to_a_client(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let mut out = Vec::with_capacity(128);
        frame::reply(&mut out, black_box("17"), black_box("chat.say"), br#"{"code":200}"#);
        assert!(out.ends_with(b"}}"));
        out
    });
}

#[divan::bench]
fn welcome_of_a_login(bencher: Bencher<'_, '_>) {
    let welcome = Notice::Welcome {
        node: NodeId::parse("node-1").unwrap(),
        session: SessionId::mint(),
        fence: Fence(1_795_446_301_248_671),
        epoch: 1_795_446_301_248,
        offset: 17,
        ping_ms: 25_000,
        groups: vec![Tgid::parse("room-4711").unwrap()],
    };
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let mut out = Vec::with_capacity(256);
        frame::notice(&mut out, black_box(&welcome));
        assert!(out.ends_with(br#""groups":["room-4711"]}}}"#));
        out
    });
}

#[divan::bench(args = [16, 300, 70_000])]
fn websocket_header(bencher: Bencher<'_, '_>, len: usize) {
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let mut out = Vec::with_capacity(16);
        write_header(&mut out, Opcode::Binary, black_box(len));
        let header = parse_header(&out).unwrap().unwrap();
        assert_eq!((header.len, header.size), (len as u64, out.len()));
        header
    });
}

#[divan::bench(args = [16, 1_024, 65_536])]
fn websocket_mask(bencher: Bencher<'_, '_>, bytes: usize) {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut payload = vec![0; bytes];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        unmask(black_box(&mut payload), mask, 0);
        assert!(payload.first() == Some(&0x37) || payload.first() == Some(&0));
    });
}

#[divan::bench]
fn keys_of_a_login(bencher: Bencher<'_, '_>) {
    let (keys, uid, at) = (Keys::new("gim").unwrap(), Uid::parse("user-4711").unwrap(), Incarnation::mint());
    bencher.bench(|| {
        let (keys, uid) = black_box((&keys, &uid));
        let users = [keys.user_bucket(uid), keys.user_groups(uid), keys.users_at(bucket_of(uid), &at)];
        let mailbox = [keys.mailbox(uid), keys.mailbox_ids(uid), keys.mailbox_state(uid), keys.user_latest(uid)];
        assert!(users.iter().chain(&mailbox).all(|key| key.starts_with("{gim:u:")));
        (users, mailbox)
    });
}
