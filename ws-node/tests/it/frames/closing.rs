//! The closing handshake.

use super::Echo;
use crate::support::raw::{CLOSE, FIN, PONG, RawFrame, TEXT, close, frame, ping, text};

#[tokio::test]
async fn a_valid_code_is_echoed_and_the_connection_ends() {
    let echo = Echo::start().await;
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4501, 4999];
    for code in codes {
        for reason in ["", "goodbye", &"x".repeat(123)] {
            let mut client = echo.client().await;
            client.send(&close(code, reason.as_bytes())).await;
            assert_eq!(client.frame().await.close_code(), Some(code));
            client.expect_end().await;
        }
    }
}

#[tokio::test]
async fn a_close_without_a_code_is_answered() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&frame(FIN | CLOSE, b"")).await;
    let code = client.frame().await.close_code();
    assert!(matches!(code, None | Some(1000)), "{code:?}");
    client.expect_end().await;
}

#[tokio::test]
async fn half_a_code_is_a_protocol_error() {
    let echo = Echo::start().await;
    echo.refuses("one byte", &frame(FIN | CLOSE, b"\x03"), 1002).await;
}

#[tokio::test]
async fn a_code_nobody_may_send_is_a_protocol_error() {
    let echo = Echo::start().await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        echo.refuses(&format!("code {code}"), &close(code, b""), 1002).await;
        echo.refuses(&format!("code {code} with a reason"), &close(code, b"reason"), 1002).await;
    }
}

#[tokio::test]
async fn a_reason_that_is_no_text_is_refused() {
    let echo = Echo::start().await;
    for reason in [b"\xFF".as_slice(), b"cut \xE2\x82", b"\xED\xA0\x80", b"\xC0\xAF"] {
        echo.refuses("a reason", &close(1000, reason), 1007).await;
    }
}

#[tokio::test]
async fn nothing_after_the_close_frame_is_answered() {
    let echo = Echo::start().await;
    let after = [text(b"late"), ping(b"late"), close(1000, b""), frame(FIN | 3, b"")];
    for late in after {
        let mut client = echo.client().await;
        client.send(&[close(1000, b""), late].concat()).await;
        assert_eq!(client.frame().await.close_code(), Some(1000));
        client.expect_end().await;
    }
}

#[tokio::test]
async fn what_came_before_the_close_frame_is_answered_first() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&[text(b"one"), ping(b"two"), close(3000, b"")].concat()).await;
    client.expect(TEXT, b"one").await;
    client.expect(PONG, b"two").await;
    assert_eq!(client.frame().await.close_code(), Some(3000));
    client.expect_end().await;
}

#[tokio::test]
async fn a_close_inside_a_fragmented_message_ends_the_connection() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&[frame(TEXT, b"never finished"), close(1000, b"")].concat()).await;
    assert_eq!(client.frame().await.close_code(), Some(1000));
    client.expect_end().await;
}

#[tokio::test]
async fn a_close_frame_in_single_bytes_is_answered() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send_chopped(&close(1001, "tschüß".as_bytes()), &[1]).await;
    assert_eq!(client.frame().await.close_code(), Some(1001));
    client.expect_end().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_without_a_close_frame_ends_quietly() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&text(b"and gone")).await;
    client.half_close().await;
    assert_eq!(client.frame().await, RawFrame::new(TEXT, "and gone"));
    client.expect_end().await;
}

#[tokio::test]
async fn a_client_that_never_answers_a_close_is_hung_up_on() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    client.send(&frame(FIN | 0x40 | TEXT, b"")).await;
    assert_eq!(client.frame().await.close_code(), Some(1002));
    // Nothing is sent from here on: the end must come by itself.
    client.expect_end().await;
}
