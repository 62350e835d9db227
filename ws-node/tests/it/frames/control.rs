//! Pings and pongs.

use super::Echo;
use crate::support::raw::{CONTINUATION, FIN, PING, PONG, TEXT, frame, ping, text};

#[tokio::test]
async fn a_ping_of_any_size_is_answered_with_its_payload() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for size in 0..=125 {
        let payload: Vec<u8> = (100..=255).cycle().take(size).collect();
        client.send(&ping(&payload)).await;
        client.expect(PONG, &payload).await;
    }
}

#[tokio::test]
async fn many_pings_in_one_packet_are_answered_in_order() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let packet: Vec<u8> = (0..1_000).flat_map(|number: u32| ping(&number.to_be_bytes())).collect();
    client.send(&packet).await;
    for number in 0..1_000_u32 {
        client.expect(PONG, &number.to_be_bytes()).await;
    }
}

#[tokio::test]
async fn a_ping_in_single_bytes_is_answered() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send_chopped(&ping(&[7; 125]), &[1]).await;
    client.expect(PONG, &[7; 125]).await;
}

#[tokio::test]
async fn pongs_nobody_asked_for_are_ignored() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for size in [0, 1, 125] {
        client.send(&frame(FIN | PONG, &vec![b'p'; size])).await;
    }
    client.send(&text(b"after the pongs")).await;
    client.expect(TEXT, b"after the pongs").await;
}

#[tokio::test]
async fn a_control_frame_over_125_bytes_is_a_protocol_error() {
    let echo = Echo::start().await;
    for opcode in [PING, PONG, 8] {
        echo.refuses("126 bytes", &frame(FIN | opcode, &[b'x'; 126]), 1002).await;
        echo.refuses("65,536 bytes", &frame(FIN | opcode, &vec![b'x'; 65_536]), 1002).await;
    }
}

#[tokio::test]
async fn a_fragmented_control_frame_is_a_protocol_error() {
    let echo = Echo::start().await;
    for opcode in [PING, PONG, 8] {
        let bytes = [frame(opcode, b""), frame(FIN | CONTINUATION, b"")].concat();
        echo.refuses("a control frame without FIN", &bytes, 1002).await;
    }
}
