//! Dead letters.

use gim_msg_queue::config::QueueSection;
use gim_msg_queue::observe::Event;
use gim_msg_queue::source::{Death, Rest, Settlement, Source};
use gim_proto::{DeadReason, Fields, Uid};

use super::rig::{LANE, Rig, nothing, settle, take, to_one};

pub(crate) fn died(error: &str, targets: &[&str]) -> Settlement {
    Settlement::Dead(Box::new(Death {
        reason: DeadReason::Attempts,
        attempts: 10,
        error: error.into(),
        failed_targets: targets.iter().map(|target| (*target).into()).collect(),
        rest: None,
    }))
}

fn text<'a>(letter: &'a Fields, name: &str) -> &'a str {
    std::str::from_utf8(letter.get(name).unwrap()).unwrap()
}

#[tokio::test]
async fn a_dead_letter_keeps_the_fields_and_says_why() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.add(&to_one(7, &[("id", "m"), ("x-own", "\u{0}binary")])).await;
    let taken = take(&source, 1).await;
    let users = Rest::Users(vec![Uid::parse("1").unwrap()]);
    let Settlement::Dead(mut death) = died("node unreachable", &["1", "a\"b"]) else { panic!("dead") };
    death.rest = Some(users);
    settle(&source, &taken, &Settlement::Dead(death)).await;
    let letters = rig.letters().await;
    let [letter] = &letters[..] else { panic!("one letter") };
    assert_eq!(text(letter, "data"), r#"{"n":7}"#);
    assert_eq!(text(letter, "x-own"), "\u{0}binary");
    assert_eq!(text(letter, "gim_reason"), "attempts");
    assert_eq!(text(letter, "gim_attempts"), "10");
    assert_eq!(text(letter, "gim_error"), "node unreachable");
    assert_eq!(text(letter, "gim_entry"), taken[0].entry_id.to_string());
    assert_eq!(text(letter, "gim_failed_targets"), r#"["1","a\"b"]"#);
    assert_eq!(text(letter, "gim_rest"), r#"{"users":["1"]}"#);
    assert!(text(letter, "gim_at_ms").parse::<u64>().unwrap() >= taken[0].entry_id.ms);
    assert_eq!(rig.ask::<u64>(&["XLEN", &rig.keys.queue(LANE)]).await, 0);
    assert_eq!(rig.pending().await, 0);
    nothing(&source).await;
}

#[tokio::test]
async fn an_entry_that_was_put_aside_dies_with_its_fields() {
    let rig = Rig::shared().await;
    let source = rig.source();
    rig.add(&to_one(8, &[("x-own", "y")])).await;
    let taken = take(&source, 1).await;
    let due_ms = super::rig::now_ms();
    settle(&source, &taken, &Settlement::Later { due_ms, attempts: 4, rest: None }).await;
    let back = take(&source, 1).await;
    settle(&source, &back, &died("x", &[])).await;
    let letters = rig.letters().await;
    assert_eq!((text(&letters[0], "data"), text(&letters[0], "x-own")), (r#"{"n":8}"#, "y"));
    assert_eq!(text(&letters[0], "gim_failed_targets"), "[]");
    assert!(letters[0].get("gim_rest").is_none());
    assert!(rig.aside().await.is_empty());
}

#[tokio::test]
async fn the_oldest_letters_go_at_the_bound_and_are_counted() {
    let rig = Rig::shared().await;
    let section = QueueSection { dead_letters: 5, ..QueueSection::default() };
    let source = rig.source_with(gim_msg_queue::redis::LaneOptions { section, ..rig.options() });
    rig.fill(0..1_200).await;
    let taken = take(&source, 1_200).await;
    settle(&source, &taken, &died("x", &["1"])).await;
    let letters = rig.letters().await;
    let data: Vec<&str> = letters.iter().map(|letter| text(letter, "data")).collect();
    assert_eq!(data, (1_195..1_200).map(|number| format!(r#"{{"n":{number}}}"#)).collect::<Vec<_>>());
    let dropped = std::sync::atomic::AtomicU64::new(0);
    rig.heard.count(|event| {
        if let Event::DeadLettersDropped { letters } = event {
            dropped.fetch_add(*letters, std::sync::atomic::Ordering::Relaxed);
        }
        false
    });
    assert_eq!(dropped.into_inner(), 1_195);
}

#[tokio::test]
async fn an_entry_of_very_many_fields_dies_and_is_put_aside_without_harm() {
    let rig = Rig::shared().await;
    let source = rig.source();
    let mut fields: Fields = to_one(1, &[]);
    for number in 0..9_000 {
        fields.push(&format!("f{number}"), number.to_string());
    }
    rig.add(&fields).await;
    let taken = take(&source, 1).await;
    let due_ms = super::rig::now_ms();
    settle(&source, &taken, &Settlement::Later { due_ms, attempts: 1, rest: None }).await;
    let back = take(&source, 1).await;
    assert_eq!(back[0].size, taken[0].size, "all fields are there");
    settle(&source, &back, &died("x", &["1"])).await;
    let letters = rig.letters().await;
    assert_eq!(letters[0].len(), 3_000 + 6);
    source.settle(&[(back[0].entry_id, died("x", &["1"]))]).await.unwrap();
    assert_eq!(rig.letters().await.len(), 1);
}
