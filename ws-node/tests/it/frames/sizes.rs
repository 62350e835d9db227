//! Payload lengths around every boundary of the length field come back whole.

use super::Echo;
use crate::support::raw::{BINARY, FIN, TEXT, binary, frame, frame_with_length, text};

/// Around 7 bits, 16 bits, and up to the largest frame.
const SIZES: [usize; 12] = [0, 1, 2, 125, 126, 127, 128, 1_000, 4_096, 65_534, 65_535, 65_536];

fn letters(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

fn every_byte(size: usize) -> Vec<u8> {
    (0..=u8::MAX).rev().cycle().take(size).collect()
}

#[tokio::test]
async fn text_of_every_size_comes_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for size in SIZES {
        let payload = letters(size);
        client.send(&text(&payload)).await;
        client.expect(TEXT, &payload).await;
    }
}

#[tokio::test]
async fn binary_of_every_size_comes_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    for size in SIZES {
        let payload = every_byte(size);
        client.send(&binary(&payload)).await;
        client.expect(BINARY, &payload).await;
    }
}

#[tokio::test]
async fn every_length_up_to_three_hundred_comes_back() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let all: Vec<u8> = (0..=300).flat_map(|size| text(&letters(size))).collect();
    client.send(&all).await;
    for size in 0..=300 {
        client.expect(TEXT, &letters(size)).await;
    }
}

#[tokio::test]
async fn the_largest_message_comes_back_in_one_frame() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let part = letters(64 * 1024);
    client.send(&frame(TEXT, &part)).await;
    client.send(&frame(0, &part)).await;
    client.send(&frame(0, &part)).await;
    client.send(&frame(FIN, &part)).await;
    client.expect(TEXT, &part.repeat(4)).await;
}

#[tokio::test]
async fn a_mask_of_zeros_is_a_mask() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&[FIN | TEXT, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o']).await;
    client.expect(TEXT, b"hello").await;
}

#[tokio::test]
async fn a_length_in_more_bytes_than_it_takes_is_a_protocol_error() {
    let echo = Echo::start().await;
    let long = letters(126);
    let cases: [(&str, Vec<u8>); 6] = [
        ("0 in 16 bits", frame_with_length(FIN | TEXT, 126, &0_u16.to_be_bytes(), b"")),
        ("5 in 16 bits", frame_with_length(FIN | TEXT, 126, &5_u16.to_be_bytes(), b"hello")),
        ("125 in 16 bits", frame_with_length(FIN | BINARY, 126, &125_u16.to_be_bytes(), &long[..125])),
        ("5 in 64 bits", frame_with_length(FIN | TEXT, 127, &5_u64.to_be_bytes(), b"hello")),
        ("126 in 64 bits", frame_with_length(FIN | TEXT, 127, &126_u64.to_be_bytes(), &long)),
        ("65,535 in 64 bits", frame_with_length(FIN | BINARY, 127, &65_535_u64.to_be_bytes(), &letters(65_535))),
    ];
    for (what, bytes) in cases {
        echo.refuses(what, &bytes, 1002).await;
    }
}

#[tokio::test]
async fn a_length_with_the_top_bit_is_a_protocol_error() {
    let echo = Echo::start().await;
    for length in [1_u64 << 63, u64::MAX, (1 << 63) | 5] {
        echo.refuses("top bit", &frame_with_length(FIN | TEXT, 127, &length.to_be_bytes(), b"hello"), 1002).await;
    }
}
