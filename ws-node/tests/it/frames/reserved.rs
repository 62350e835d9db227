//! What is reserved, and what a client owes: each breach ends the connection with 1002.

use super::Echo;
use crate::support::raw::{BINARY, CONTINUATION, FIN, PING, TEXT, frame, text, unmasked};

#[tokio::test]
async fn a_reserved_bit_is_a_protocol_error() {
    let echo = Echo::start().await;
    for bits in [0x40, 0x20, 0x10, 0x60, 0x30, 0x50, 0x70] {
        for opcode in [TEXT, BINARY, PING, 8] {
            echo.refuses(&format!("bits {bits:x} on {opcode}"), &frame(FIN | bits | opcode, b""), 1002).await;
        }
    }
}

#[tokio::test]
async fn a_reserved_bit_on_a_later_fragment_is_a_protocol_error() {
    let echo = Echo::start().await;
    let bytes = [frame(TEXT, b"start"), frame(FIN | 0x40 | CONTINUATION, b"end")].concat();
    echo.refuses("RSV1 on a continuation", &bytes, 1002).await;
}

#[tokio::test]
async fn a_reserved_opcode_is_a_protocol_error() {
    let echo = Echo::start().await;
    for opcode in (3..=7).chain(11..=15) {
        echo.refuses(&format!("opcode {opcode}, empty"), &frame(FIN | opcode, b""), 1002).await;
        echo.refuses(&format!("opcode {opcode}"), &frame(FIN | opcode, b"payload"), 1002).await;
    }
}

#[tokio::test]
async fn a_reserved_opcode_inside_a_fragmented_message_is_a_protocol_error() {
    let echo = Echo::start().await;
    for opcode in [3, 11] {
        echo.refuses("inside", &[frame(TEXT, b"start"), frame(FIN | opcode, b"")].concat(), 1002).await;
    }
}

#[tokio::test]
async fn a_frame_without_a_mask_is_a_protocol_error() {
    let echo = Echo::start().await;
    for opcode in [TEXT, BINARY, PING, 8] {
        echo.refuses(&format!("empty, opcode {opcode}"), &unmasked(FIN | opcode, b""), 1002).await;
        echo.refuses(&format!("opcode {opcode}"), &unmasked(FIN | opcode, b"bare"), 1002).await;
    }
}

#[tokio::test]
async fn what_came_whole_before_a_breach_is_answered() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&[text(b"one"), text(b"two"), frame(FIN | 3, b"")].concat()).await;
    client.expect(TEXT, b"one").await;
    client.expect(TEXT, b"two").await;
    client.expect_close(1002).await;
}

#[tokio::test]
async fn a_breach_ends_one_connection_and_no_other() {
    let echo = Echo::start().await;
    let mut other = echo.client().await;
    for _ in 0..20 {
        echo.refuses("opcode 3", &frame(FIN | 3, b""), 1002).await;
    }
    other.send(&text(b"undisturbed")).await;
    other.expect(TEXT, b"undisturbed").await;
}
