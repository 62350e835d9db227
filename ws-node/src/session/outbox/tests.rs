use super::*;

fn bounds() -> OutboxBounds {
    OutboxBounds { bytes: 100, frames: 5, close_when_full: false, total: OutboxTotal::new(usize::MAX) }
}

fn part(text: &'static str, keep: Keep) -> Part {
    Part::new(Bytes::from_static(text.as_bytes()), keep)
}

fn live(text: &'static str) -> Part {
    part(text, Keep::Live)
}

fn latest(key: &str, text: &'static str) -> Part {
    part(text, Keep::Latest(Arc::from(key)))
}

fn blocked(_: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

fn open() -> Outbox {
    let outbox = Outbox::held();
    assert_eq!(outbox.open(&bounds(), b"101".to_vec(), |bytes| Ok(bytes.len())), Offer::Taken);
    outbox
}

fn offer(outbox: &Outbox, parts: &[Part], send: impl FnOnce(&[u8]) -> io::Result<usize>) -> (Offer, u64) {
    offer_within(&bounds(), outbox, parts, send)
}

fn offer_within(
    bounds: &OutboxBounds,
    outbox: &Outbox,
    parts: &[Part],
    send: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> (Offer, u64) {
    let joined: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
    outbox.offer(bounds, &joined, || parts, send)
}

/// Takes everything that waits, `step` bytes at a time.
fn drain_all(outbox: &Outbox, step: usize) -> String {
    let mut out = Vec::new();
    loop {
        let drained = outbox
            .drain(|slices| {
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = all.len().min(step);
                out.extend_from_slice(&all[..taken]);
                Ok(taken)
            })
            .unwrap();
        if let Drained::Empty { .. } = drained {
            return String::from_utf8(out).unwrap();
        }
    }
}

#[test]
fn what_the_socket_takes_at_once_never_waits() {
    let outbox = open();
    let mut sent = Vec::new();
    let outcome = offer(&outbox, &[live("a"), live("b")], |bytes| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(outcome, (Offer::Taken, 0));
    assert_eq!(sent, b"ab");
    assert!(outbox.is_idle());
}

#[test]
fn the_rest_of_a_partial_write_follows_in_order() {
    for cut in 0..6 {
        let outbox = open();
        assert_eq!(offer(&outbox, &[live("abc"), live("def")], |_| Ok(cut)).0, Offer::Waiting);
        assert_eq!(offer(&outbox, &[live("ghi")], |_| panic!("must wait")).0, Offer::Taken);
        for step in [1, 2, 100] {
            let outbox = open();
            offer(&outbox, &[live("abc"), live("def")], |_| Ok(cut));
            offer(&outbox, &[live("ghi")], |_| panic!("must wait"));
            assert_eq!(drain_all(&outbox, step), "abcdefghi"[cut..]);
            assert!(outbox.is_idle());
        }
    }
}

#[test]
fn the_oldest_live_frame_goes_first_and_a_half_written_one_never() {
    let outbox = open();
    offer(&outbox, &[live("1one")], |_| Ok(2));
    for text in ["2", "3", "4", "5"] {
        assert_eq!(offer(&outbox, &[live(text)], blocked), (Offer::Taken, 0));
    }
    assert_eq!(offer(&outbox, &[live("6")], blocked), (Offer::Taken, 1));
    assert_eq!(drain_all(&outbox, 100), "ne3456");
}

#[test]
fn the_byte_bound_drops_as_many_as_it_takes() {
    let outbox = open();
    let bounds = OutboxBounds { bytes: 10, frames: 100, ..bounds() };
    offer_within(&bounds, &outbox, &[live("aaa"), live("bbb"), live("ccc")], blocked);
    assert_eq!(offer_within(&bounds, &outbox, &[live("dddddd")], blocked), (Offer::Taken, 2));
    assert_eq!(drain_all(&outbox, 100), "cccdddddd");
}

#[test]
fn what_may_not_be_dropped_gets_twice_the_bound_and_then_ends_the_session() {
    let outbox = open();
    let fixed = || part("x", Keep::Always);
    assert_eq!(offer(&outbox, &[fixed()], blocked).0, Offer::Waiting);
    for _ in 1..10 {
        assert_eq!(offer(&outbox, &[fixed()], blocked), (Offer::Taken, 0));
    }
    assert_eq!(offer(&outbox, &[fixed()], blocked).0, Offer::Overflow);
}

#[test]
fn a_live_frame_behind_frames_that_may_not_be_dropped_is_the_one_dropped() {
    let outbox = open();
    for _ in 0..5 {
        offer(&outbox, &[part("x", Keep::Always)], blocked);
    }
    assert_eq!(offer(&outbox, &[live("y")], blocked), (Offer::Dropped, 1));
    assert_eq!(drain_all(&outbox, 100), "xxxxx");
}

#[test]
fn a_full_outbox_ends_the_session_where_so_configured() {
    let outbox = open();
    let bounds = OutboxBounds { close_when_full: true, ..bounds() };
    for _ in 0..5 {
        assert_ne!(offer_within(&bounds, &outbox, &[live("x")], blocked).0, Offer::Overflow);
    }
    assert_eq!(offer_within(&bounds, &outbox, &[live("x")], blocked).0, Offer::Overflow);
}

#[test]
fn an_outbox_that_overflows_at_its_first_rest_still_says_goodbye() {
    let outbox = open();
    let bounds = OutboxBounds { close_when_full: true, ..bounds() };
    let parts: Vec<Part> = (0..6).map(|_| live("x")).collect();
    assert_eq!(offer_within(&bounds, &outbox, &parts, blocked).0, Offer::Overflow);
    let closed = outbox.close(&bounds, &[part("bye", Keep::Always)], true, |_| panic!("must wait"));
    assert_eq!(closed, Some(Offer::Waiting), "somebody has to drain it");
    assert_eq!(drain_all(&outbox, 100), "bye");
}

#[test]
fn a_newer_latest_frame_replaces_the_older_of_its_key_alone() {
    let outbox = open();
    offer(&outbox, &[live("-")], blocked);
    offer(&outbox, &[latest("a", "a1")], blocked);
    offer(&outbox, &[latest("b", "b1")], blocked);
    offer(&outbox, &[latest("a", "a2")], blocked);
    offer(&outbox, &[latest("a", "a3")], blocked);
    assert_eq!(drain_all(&outbox, 100), "-b1a3");
    assert_eq!(offer(&outbox, &[latest("a", "a4")], blocked).0, Offer::Waiting, "keys are forgotten once written");
    assert_eq!(drain_all(&outbox, 100), "a4");
}

#[test]
fn a_latest_frame_half_written_is_not_replaced() {
    let outbox = open();
    offer(&outbox, &[latest("a", "old")], |_| Ok(1));
    offer(&outbox, &[latest("a", "new")], blocked);
    assert_eq!(drain_all(&outbox, 1), "ldnew");
}

#[test]
fn an_outbox_whose_connection_broke_accepts_nothing_more() {
    let gone = |_: &[u8]| Err(io::ErrorKind::BrokenPipe.into());
    let outbox = open();
    assert_eq!(offer(&outbox, &[live("a")], gone).0, Offer::Closed);
    assert!(outbox.is_closing());
    let outbox = open();
    offer(&outbox, &[live("abc")], |_| Ok(1));
    assert!(outbox.drain(|_| Err(io::ErrorKind::ConnectionReset.into())).is_err());
    assert!(outbox.is_closing() && outbox.is_idle());
    assert_eq!(offer(&outbox, &[live("b")], |_| panic!("must not be written")).0, Offer::Closed);
}

#[test]
fn nothing_follows_the_close_frame() {
    let outbox = open();
    let last = [part("bye", Keep::Always)];
    assert_eq!(outbox.close(&bounds(), &last, false, |bytes| Ok(bytes.len())), Some(Offer::Taken));
    assert_eq!(offer(&outbox, &[live("late")], |_| panic!("must not be written")).0, Offer::Closed);
    assert_eq!(outbox.close(&bounds(), &last, false, |_| panic!("must not be written")), None);
}

#[test]
fn giving_up_keeps_the_half_written_frame_and_the_close_frame() {
    let outbox = open();
    offer(&outbox, &[live("abc"), live("def"), latest("k", "ghi")], |_| Ok(1));
    outbox.close(&bounds(), &[part("bye", Keep::Always)], true, |_| panic!("must wait"));
    assert_eq!(drain_all(&outbox, 100), "bcbye");
    assert_eq!(outbox.drain(|_| panic!("nothing waits")).unwrap(), Drained::Empty { closing: true });
}

#[test]
fn what_is_offered_during_the_handshake_follows_the_answer() {
    let outbox = Outbox::held();
    assert_eq!(offer(&outbox, &[live("first")], |_| panic!("must wait")).0, Offer::Taken);
    let mut sent = Vec::new();
    let offer = outbox.open(&bounds(), b"101;".to_vec(), |bytes| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(offer, Offer::Taken);
    assert_eq!(sent, b"101;first");
    assert!(outbox.is_idle());
}

#[test]
fn a_session_closed_during_the_handshake_says_so_after_the_answer() {
    let outbox = Outbox::held();
    assert_eq!(
        outbox.close(&bounds(), &[part("bye", Keep::Always)], false, |_| panic!("must wait")),
        Some(Offer::Taken)
    );
    let mut sent = Vec::new();
    outbox.open(&bounds(), b"101;".to_vec(), |bytes| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(sent, b"101;bye");
    assert!(outbox.is_closing());
}

fn durable(head: &'static str, text: &'static str) -> Part {
    Part { head: Bytes::from_static(head.as_bytes()), ..part(text, Keep::Durable) }
}

#[test]
fn durable_frames_wait_only_as_far_as_they_must_and_make_no_parts_otherwise() {
    let outbox = open();
    let no_parts = || panic!("nothing has to wait");
    assert_eq!(outbox.offer_durable(&bounds(), b"1:one", no_parts, |bytes| Ok(bytes.len())), Offer::Taken);
    let parts = || vec![durable("2:", "two;"), durable("3:", "three;")];
    assert_eq!(outbox.offer_durable(&bounds(), b"2:two;3:three;", parts, |_| Ok(1)), Offer::Waiting);
    assert_eq!(outbox.offer_durable(&bounds(), b"4:four", || vec![durable("4:", "four")], blocked), Offer::Taken);
    assert_eq!(drain_all(&outbox, 3), ":two;3:three;4:four");
}

#[test]
fn durable_frames_are_outside_the_bounds_of_the_rest_and_never_dropped() {
    let outbox = open();
    let large = durable("1:", concat!("0123456789012345678901234567890123456789012345678901234567890123456789", ";"));
    let parts = || vec![large.clone(), large.clone(), large.clone()];
    assert_eq!(outbox.offer_durable(&bounds(), b"...", parts, blocked), Offer::Waiting);
    for n in 0..9 {
        assert_eq!(offer(&outbox, &[live("live;")], blocked), (Offer::Taken, u64::from(n >= 5)));
    }
    let drained = drain_all(&outbox, 7);
    assert_eq!((drained.matches("1:").count(), drained.matches("live;").count()), (3, 5));
}

#[test]
fn a_frame_that_has_begun_is_ended_before_the_close_frame_also_behind_its_head() {
    let outbox = open();
    let parts = || vec![durable("1:", "one;"), durable("2:", "two;")];
    assert_eq!(outbox.offer_durable(&bounds(), b"1:one;2:two;", parts, |_| Ok(3)), Offer::Waiting);
    outbox.close(&bounds(), &[part("bye", Keep::Always)], true, |_| panic!("must wait"));
    assert_eq!(drain_all(&outbox, 2), "ne;bye");
}

#[test]
fn a_value_that_was_read_gives_way_to_one_that_was_delivered_meanwhile() {
    for held in [true, false] {
        let outbox = if held { Outbox::held() } else { open() };
        let mut out = Vec::new();
        let mut send = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        outbox.begin_notes();
        let new = latest("a", "new;");
        outbox.offer(&bounds(), b"new;", || [new.clone()], &mut send);
        outbox.offer_value(&bounds(), &latest("a", "old;"), &mut send);
        outbox.offer_value(&bounds(), &latest("b", "only;"), &mut send);
        outbox.end_notes();
        if held {
            outbox.open(&bounds(), b"101;".to_vec(), &mut send);
        }
        assert_eq!(String::from_utf8(out).unwrap(), if held { "101;new;only;" } else { "new;only;" });
    }
}

#[test]
fn nobody_takes_notes_when_nothing_is_read_any_more() {
    let outbox = open();
    outbox.begin_notes();
    outbox.begin_notes();
    outbox.end_notes();
    assert!(outbox.lock().notes_mut().is_some());
    outbox.end_notes();
    assert!(outbox.lock().beside.is_none());
}

#[test]
fn notes_outlive_the_frames_that_wait_beside_them_whatever_becomes_of_these() {
    for ends in
        [|outbox: &Outbox| assert_eq!(drain_all(outbox, 3), "new;"), |outbox: &Outbox| assert_eq!(outbox.shut(), 1)]
    {
        let outbox = open();
        outbox.begin_notes();
        assert_eq!(offer(&outbox, &[latest("a", "new;")], blocked), (Offer::Waiting, 0));
        ends(&outbox);
        let unsent = |_: &[u8]| panic!("a newer one was offered");
        assert_eq!(outbox.offer_value(&bounds(), &latest("a", "old;"), unsent), Offer::Taken);
        outbox.end_notes();
        assert!(outbox.lock().beside.is_none());
    }
}

#[test]
fn what_nothing_waits_in_holds_no_memory() {
    let broken = |outbox: &Outbox| {
        let broken = outbox.drain(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    };
    for ends in [
        |outbox: &Outbox| assert_eq!(drain_all(outbox, 3), "one;"),
        |outbox: &Outbox| assert_eq!(outbox.shut(), 1),
        broken,
    ] {
        let outbox = open();
        assert!(outbox.lock().beside.is_none());
        assert_eq!(offer(&outbox, &[live("one;")], blocked), (Offer::Waiting, 0));
        assert!(outbox.lock().beside.is_some());
        ends(&outbox);
        assert!(outbox.lock().beside.is_none());
    }
}

#[test]
fn above_the_bound_of_the_node_an_outbox_holds_its_fair_minimum() {
    let total = OutboxTotal::new(100_000);
    let bounds = OutboxBounds { bytes: 1 << 20, frames: 1_000, close_when_full: false, total: Arc::clone(&total) };
    let piece: &'static str = Box::leak("x".repeat(10_000).into_boxed_str());
    let (first, second) = (open(), open());
    for _ in 0..12 {
        offer_within(&bounds, &first, &[live(piece)], blocked);
    }
    assert_eq!(total.bytes(), 60_000, "beyond the bound it gives up what is above its minimum");
    assert!(total.reached() > 0);
    for _ in 0..5 {
        offer_within(&bounds, &second, &[live(piece)], blocked);
    }
    assert_eq!(total.bytes(), 110_000, "the minimum is everybody's");
    drop(first);
    second.shut();
    assert_eq!(total.bytes(), 0);
}
