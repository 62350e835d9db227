//! TCP is a stream: where it is cut, and what arrives together, makes no difference.

use super::Echo;
use crate::support::raw::{BINARY, CONTINUATION, FIN, PONG, TEXT, binary, frame, ping, text};

#[tokio::test]
async fn frames_in_single_bytes_come_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for size in [0, 1, 125, 126, 200] {
        let payload = vec![b'x'; size];
        client.send_chopped(&text(&payload), &[1]).await;
        client.expect(TEXT, &payload).await;
        client.send_chopped(&binary(&payload), &[1]).await;
        client.expect(BINARY, &payload).await;
    }
}

#[tokio::test]
async fn a_large_frame_in_odd_pieces_comes_back() {
    let echo = Echo::start().await;
    let payload: Vec<u8> = (0..=250).cycle().take(65_536).collect();
    let sizes: [&[usize]; 4] = [&[997], &[1, 2, 3, 5, 8, 13, 21, 34, 55, 8_999], &[65_535, 1], &[13, 65_537]];
    for sizes in sizes {
        let mut client = echo.client().await;
        client.send_chopped(&binary(&payload), sizes).await;
        client.expect(BINARY, &payload).await;
    }
}

#[tokio::test]
async fn a_head_cut_at_any_byte_is_understood() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let payload = vec![b'y'; 70];
    let longer = vec![b'z'; 300];
    for cut in 1..=14 {
        client.send_chopped(&text(&payload), &[cut, 1_000]).await;
        client.expect(TEXT, &payload).await;
        client.send_chopped(&text(&longer), &[cut, 1_000]).await;
        client.expect(TEXT, &longer).await;
    }
}

#[tokio::test]
async fn many_frames_in_one_packet_come_back_in_order() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let mut packet = Vec::new();
    for number in 0..500 {
        packet.extend(text(format!("message {number}").as_bytes()));
        packet.extend(ping(format!("ping {number}").as_bytes()));
    }
    client.send(&packet).await;
    for number in 0..500 {
        client.expect(TEXT, format!("message {number}").as_bytes()).await;
        client.expect(PONG, format!("ping {number}").as_bytes()).await;
    }
}

#[tokio::test]
async fn one_and_a_half_frames_and_then_the_rest_come_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let both = [text(b"first"), text(b"second")].concat();
    let (now, later) = both.split_at(15);
    client.send(now).await;
    client.expect(TEXT, b"first").await;
    client.send(later).await;
    client.expect(TEXT, b"second").await;
}

#[tokio::test]
async fn a_fragmented_message_in_single_bytes_comes_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let bytes = [frame(TEXT, "fö".as_bytes()), ping(b"?"), frame(FIN | CONTINUATION, "ö".as_bytes())].concat();
    client.send_chopped(&bytes, &[1]).await;
    client.expect(PONG, b"?").await;
    client.expect(TEXT, "föö".as_bytes()).await;
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_frame_ends_alone() {
    let echo = Echo::start().await;
    let mut other = echo.client().await;
    let mut client = echo.client().await;
    client.send(&text(b"whole")).await;
    client.expect(TEXT, b"whole").await;
    client.send(&text(b"half")[..5]).await;
    client.half_close().await;
    client.expect_end().await;
    other.send(&text(b"still here")).await;
    other.expect(TEXT, b"still here").await;
}
