//! How much a client may send at once, and how a refusal reaches it.

use super::Echo;
use crate::support::node::TestNode;
use crate::support::raw::{BINARY, CONTINUATION, FIN, Raw, TEXT, binary, frame, frame_with_length, text};
use gim_msg_queue::config::ByteSize;

const MOST: usize = 64 * 1024;

#[tokio::test]
async fn a_frame_over_the_bound_is_too_big() {
    let echo = Echo::start().await;
    echo.refuses("one byte more, text", &text(&vec![b'x'; MOST + 1]), 1009).await;
    echo.refuses("one byte more, binary", &binary(&vec![0; MOST + 1]), 1009).await;
    echo.refuses("far more", &binary(&vec![0; 4 * MOST]), 1009).await;
}

#[tokio::test]
async fn a_frame_over_the_bound_is_refused_by_its_head() {
    let echo = Echo::start().await;
    for length in [MOST as u64 + 1, 1 << 20, 1 << 40, (1 << 63) - 1] {
        let bytes = frame_with_length(FIN | BINARY, 127, &length.to_be_bytes(), b"");
        echo.refuses(&format!("{length} announced, nothing sent"), &bytes, 1009).await;
    }
}

#[tokio::test]
async fn a_fragment_over_the_bound_is_too_big() {
    let echo = Echo::start().await;
    let bytes = [frame(TEXT, b"small"), frame(CONTINUATION, &vec![b'x'; MOST + 1])].concat();
    echo.refuses("a later fragment", &bytes, 1009).await;
}

#[tokio::test]
async fn a_message_over_the_bound_is_too_big() {
    let echo = Echo::start().await;
    let part = vec![b'x'; MOST];
    let start = [frame(TEXT, &part), frame(CONTINUATION, &part).repeat(3)].concat();
    let one_byte_more = [start.clone(), frame(FIN | CONTINUATION, b"x")].concat();
    echo.refuses("one byte more", &one_byte_more, 1009).await;
    let never_final = [start, frame(CONTINUATION, b"x")].concat();
    echo.refuses("one byte more, not final", &never_final, 1009).await;
    let many = [frame(BINARY, b""), frame(CONTINUATION, &[0; 1_000]).repeat(263)].concat();
    echo.refuses("many small fragments", &many, 1009).await;
}

#[tokio::test]
async fn a_message_up_to_the_bound_is_not_too_big() {
    let echo = Echo::start().await;
    let mut client = echo.client().await;
    let part = vec![b'x'; MOST];
    client.send(&[frame(BINARY, &part), frame(CONTINUATION, &part).repeat(3)].concat()).await;
    client.send(&frame(FIN | CONTINUATION, b"")).await;
    client.expect(BINARY, &part.repeat(4)).await;
    client.send(&text(b"and on")).await;
    client.expect(TEXT, b"and on").await;
}

#[tokio::test]
async fn the_bounds_are_those_of_the_configuration() {
    let node = TestNode::echo_with(|config| {
        config.session.frame_bytes = ByteSize(200);
        config.session.message_bytes = ByteSize(300);
    })
    .await;
    let mut client = Raw::connect(node.public, "/acc?uid=a").await;
    client.send(&[frame(BINARY, &[1; 200]), frame(FIN | CONTINUATION, &[1; 100])].concat()).await;
    client.expect(BINARY, &[1; 300]).await;
    client.send_anyway(&binary(&[1; 201])).await;
    client.expect_close(1009).await;
    let mut client = Raw::connect(node.public, "/acc?uid=b").await;
    client.send_anyway(&[frame(BINARY, &[1; 200]), frame(FIN | CONTINUATION, &[1; 101])].concat()).await;
    client.expect_close(1009).await;
}

#[tokio::test]
async fn on_ws_a_notice_says_why_before_the_close() {
    let echo = Echo::start().await;
    let cases = [(text(&vec![b'x'; MOST + 1]), 1009_u16), (frame(FIN | 3, b""), 1002), (text(b"\xFF"), 1007)];
    for (number, (bytes, code)) in cases.into_iter().enumerate() {
        let mut client = Raw::connect(echo.node.public, &format!("/ws?uid=ws{number}&msg_code=1")).await;
        assert!(client.frame().await.text().contains("gim.welcome"));
        client.send_anyway(&bytes).await;
        let notice = client.frame().await;
        let start = format!(r#"{{"seq":"","cmd":"gim.notice","msgType":4,"response":{{"s":1,"a":{{"code":{code},"#);
        assert!(notice.text().starts_with(&start), "{}", notice.text());
        client.expect_close(code).await;
    }
}
