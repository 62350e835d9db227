//! What a message costs within a node, without the sockets: who gets what and its bytes, and the outbox of one connection.
//! The inputs are the same in every run. Needs the feature `measure`.
#![expect(clippy::unwrap_used, reason = "a bench that meets the unexpected fails loudly")]

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gim_proto::{Class, MessageId, Payload};
use gim_proxy_sdk::delivery::Message;
use gim_ws_node::measure::{Fan, Waiter};

fn main() {
    divan::main();
}

const MEMBERS: usize = 5_000;
const FRAMES: usize = 1_000;

fn message(number: usize) -> Arc<Message> {
    message_with(number, Bytes::from_static(br#"{"text":"sixteen letters!"}"#))
}

/// A list of prices, as a feed has it.
fn long_message(len: usize) -> Arc<Message> {
    let mut noise = 1_u64;
    let mut text = String::from("{\"prices\":[");
    while text.len() < len {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, price, side) = (noise >> 44, noise >> 50 & 0xFFF, ["bid", "ask"][usize::from(noise >> 63 == 1)]);
        text.push_str(&format!("{{\"id\":{id},\"side\":\"{side}\",\"price\":{price}.25}},"));
    }
    text.push_str("{}]}");
    message_with(1, Bytes::from(text))
}

fn message_with(number: usize, payload: Bytes) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::parse(&format!("message-{number}")).unwrap(),
        class: Class::Live,
        key: None,
        payload: Payload::Json(payload),
        except: Vec::new(),
        expires_ms: None,
        receipt: false,
        traced: false,
    })
}

fn frame() -> Bytes {
    gim_proto::websocket::frame(gim_proto::websocket::Opcode::Text, &[b'x'; 126])
}

/// A batch of so many messages to a group of 5,000: all get the same, joined once.
#[divan::bench(args = [1, 100])]
fn one_group(bencher: Bencher<'_, '_>, messages: usize) {
    let messages: Vec<_> = (0..messages).map(message).collect();
    let mut fan = Fan::new(MEMBERS);
    bencher.counter(ItemsCount::new(MEMBERS * messages.len())).bench_local(|| {
        messages.iter().for_each(|message| fan.add(message, 1));
        let bytes = fan.write();
        assert!(bytes > MEMBERS * messages.len());
        black_box(bytes)
    });
}

/// One message of so many bytes to a group of 5,000 that agreed on compression: packed once.
#[divan::bench(args = [256, 1_024, 4_096, 16_384])]
fn one_group_deflated(bencher: Bencher<'_, '_>, len: usize) {
    deflated(bencher, MEMBERS, len);
}

/// The same to one user: what compression costs a message.
#[divan::bench(args = [256, 1_024, 4_096, 16_384])]
fn one_user_deflated(bencher: Bencher<'_, '_>, len: usize) {
    deflated(bencher, 1, len);
}

fn deflated(bencher: Bencher<'_, '_>, members: usize, len: usize) {
    let message = long_message(len);
    let mut plain = Fan::new(members);
    plain.add(&message, 1);
    let before = plain.write();
    let mut fan = Fan::new(members).deflating();
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        fan.add(&message, 1);
        let bytes = fan.write();
        assert!(bytes < before * 2 / 3);
        black_box(bytes)
    });
}

/// The same sizes as they are.
#[divan::bench(args = [256, 1_024, 4_096, 16_384])]
fn one_user_plain(bencher: Bencher<'_, '_>, len: usize) {
    let message = long_message(len);
    let mut fan = Fan::new(1);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        fan.add(&message, 1);
        black_box(fan.write())
    });
}

/// A batch of 100 messages to groups that overlap: every member of the second is one of the first.
#[divan::bench]
fn groups_that_overlap(bencher: Bencher<'_, '_>) {
    let messages: Vec<_> = (0..100).map(message).collect();
    let mut fan = Fan::new(MEMBERS);
    bencher.counter(ItemsCount::new(MEMBERS * 75)).bench_local(|| {
        messages.iter().enumerate().for_each(|(number, message)| fan.add(message, 1 + number % 2));
        let bytes = fan.write();
        assert!(bytes > MEMBERS * 75);
        black_box(bytes)
    });
}

/// A thousand frames to a socket that takes each at once.
#[divan::bench]
fn offers_taken(bencher: Bencher<'_, '_>) {
    let (waiter, frame) = (Waiter::new(), frame());
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        assert_eq!((0..FRAMES).filter(|_| waiter.offer_taken(black_box(&frame))).count(), FRAMES);
    });
}

/// A thousand frames that wait.
#[divan::bench]
fn offers_waiting(bencher: Bencher<'_, '_>) {
    let frame = frame();
    bencher.counter(ItemsCount::new(FRAMES)).with_inputs(Waiter::new).bench_local_refs(|waiter| {
        let dropped: u64 = (0..FRAMES).map(|_| waiter.offer_waiting(black_box(&frame))).sum();
        assert_eq!(dropped, 0);
    });
}

/// The same with the outbox full: each takes the place of the oldest.
#[divan::bench]
fn offers_to_a_full_outbox(bencher: Bencher<'_, '_>) {
    let (waiter, frame) = (Waiter::new(), frame());
    let dropped: u64 = (0..5_000).map(|_| waiter.offer_waiting(&frame)).sum();
    assert!(dropped > 0, "it is not full");
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let dropped: u64 = (0..FRAMES).map(|_| waiter.offer_waiting(black_box(&frame))).sum();
        assert_eq!(dropped, FRAMES as u64);
    });
}

/// A thousand frames that waited, written as the socket takes them.
#[divan::bench(args = [1_024, 65_536])]
fn drain(bencher: Bencher<'_, '_>, step: usize) {
    let frame = frame();
    let waiting = || {
        let waiter = Waiter::new();
        assert_eq!((0..FRAMES).map(|_| waiter.offer_waiting(&frame)).sum::<u64>(), 0);
        waiter
    };
    bencher.counter(BytesCount::new(FRAMES * frame.len())).with_inputs(waiting).bench_local_refs(|waiter| {
        assert_eq!(waiter.drain(step), FRAMES * frame.len());
    });
}
