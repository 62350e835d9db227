//! Whose turn is when, on paused time.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn turns(tune: impl FnOnce(&mut LimitsSection)) -> Arc<Turns> {
    let mut limits = LimitsSection::default();
    tune(&mut limits);
    Arc::new(Turns::new(&limits))
}

fn soon() -> Instant {
    Instant::now() + 5 * SECOND
}

/// Lets everything that is ready run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_the_burst_is_let_in_and_the_others_come_back_as_told() {
    let turns = turns(|limits| (limits.logins_per_second, limits.login_burst) = (10, 25));
    let mut told = Vec::new();
    let mut welcome = 0;
    for _ in 0..100 {
        match turns.take(soon()).await {
            Ok(_turn) => welcome += 1,
            Err(why) => {
                assert_eq!(why, PutOff::Rate);
                told.push(1 + turns.again());
            }
        }
    }
    assert_eq!((welcome, told.len()), (25, 75));
    assert!(told.is_sorted());
    let begun = Instant::now();
    for after in told {
        tokio::time::sleep_until(begun + SECOND * u32::try_from(after).unwrap()).await;
        assert!(turns.take(soon()).await.is_ok(), "told {after}");
    }
    assert_eq!(begun.elapsed(), 8 * SECOND, "75 at 10 a second, the first of them after one");
    assert_eq!(turns.figures().put_off, [75, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_everybody_has_a_turn() {
    let turns = turns(|_| {});
    for _ in 0..10_000 {
        assert!(turns.take(soon()).await.is_ok());
    }
    assert_eq!(turns.figures().put_off, [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn turns_are_taken_in_order_and_no_more_at_once_than_may() {
    let turns = turns(|limits| limits.logins_at_once = 2);
    let held = [turns.take(soon()).await.unwrap(), turns.take(soon()).await.unwrap()];
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
        tasks.spawn(async move {
            let _turn = turns.take(soon()).await.unwrap();
            assert!(turns.figures().under_way <= 2);
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        });
        settle().await;
    }
    assert_eq!((turns.figures().under_way, turns.figures().waiting), (2, 20));
    drop(held);
    tasks.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!((turns.figures().under_way, turns.figures().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_finds_too_many_waiting_or_waits_too_long_is_put_off() {
    let turns = turns(|limits| (limits.logins_at_once, limits.logins_waiting) = (1, 3));
    let held = turns.take(soon()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move { turns.take(soon()).await.err() });
    }
    settle().await;
    assert_eq!(turns.take(soon()).await.err(), Some(PutOff::Crowd));
    assert_eq!(turns.figures().waiting, 3, "who is put off does not wait");
    assert_eq!(tasks.join_all().await, [Some(PutOff::Late); 3]);
    assert_eq!(turns.figures().put_off, [0, 1, 3]);
    drop(held);
    assert_eq!((turns.figures().under_way, turns.figures().waiting), (0, 0));
    assert!(turns.take(soon()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_its_turn_longer_than_is_then_left_for_the_login() {
    let turns = turns(|limits| limits.logins_at_once = 1);
    let held = turns.take(soon()).await.unwrap();
    let (begun, deadline) = (Instant::now(), soon());
    assert_eq!(turns.take(deadline).await.err(), Some(PutOff::Late));
    assert_eq!(begun.elapsed(), 5 * SECOND / 2);
    // Whoever has used up its time otherwise waits less, and has its turn all the same where one is free.
    assert_eq!(turns.take(deadline).await.err(), Some(PutOff::Late));
    assert_eq!(begun.elapsed(), 15 * SECOND / 4);
    drop(held);
    assert!(turns.take(deadline).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_leaves_its_login_of_the_rate_to_others() {
    let turns = turns(|limits| {
        (limits.logins_at_once, limits.logins_per_second, limits.login_burst) = (1, 1, 100);
    });
    let held = turns.take(soon()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..99 {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move { turns.take(soon()).await.err() });
    }
    settle().await;
    assert_eq!(turns.take(soon()).await.err(), Some(PutOff::Rate), "nobody else could have had them meanwhile");
    assert_eq!(tasks.join_all().await, [Some(PutOff::Late); 99]);
    drop(held);
    let mut more = 0;
    while turns.take(soon()).await.is_ok() {
        more += 1;
    }
    assert_eq!(more, 100, "the one that had its turn has come again meanwhile, and the others did not log in");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_no_trace() {
    let turns = turns(|limits| limits.logins_at_once = 1);
    let held = turns.take(soon()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move { drop(turns.take(soon()).await) });
    }
    settle().await;
    assert_eq!(turns.figures().waiting, 50);
    tasks.shutdown().await;
    assert_eq!(turns.figures().waiting, 0);
    drop(held);
    assert_eq!(turns.figures().under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_nobody_can_serve_is_spread_over_the_minute() {
    let turns = turns(|_| {});
    let told: Vec<u64> = (0..100_000).map(|_| 1 + turns.again()).collect();
    assert!(told.iter().all(|after| (1..=60).contains(after)));
    for second in 1..=59 {
        let then = told.iter().filter(|after| **after == second).count();
        let most = if second < 30 { 1_001 } else { 2_500 };
        assert!((999..=most).contains(&then), "{then} in second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_put_off_comes_back_behind_those_who_wait() {
    let turns = turns(|limits| (limits.logins_at_once, limits.logins_waiting) = (1, 5_000));
    let _held = turns.take(soon()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..5_000 {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move { turns.take(soon()).await.is_ok() });
    }
    while turns.figures().waiting < 5_000 {
        settle().await;
    }
    // At a thousand in a second, as long as nothing else was measured.
    assert_eq!((turns.again(), turns.again()), (5, 5));
    assert_eq!(turns.figures().backlog_ms, 5_001);
}
