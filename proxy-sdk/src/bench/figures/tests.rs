use super::*;

fn clean() -> Figures {
    let report = Report { deliveries: 10, ..Report::default() };
    Figures {
        what: "fanout",
        asked: "10 connections".to_owned(),
        settings: Value::Null,
        wanted: 10,
        logins: LoginFigures { connected: 10, ..LoginFigures::default() },
        turn: Some(Turn::of(&report, 1, 10, 2.0)),
        servers: Vec::new(),
        others_cpu_seconds: 0.0,
        load: Load { clients: 1, producer: "HTTP", late_p99_us: Some(LATE_US), ..Load::default() },
        notes: Vec::new(),
        problems: Vec::new(),
    }
}

fn problems(change: impl FnOnce(&mut Figures)) -> Vec<String> {
    let mut figures = clean();
    change(&mut figures);
    figures.judge(true, Some("a reason"));
    assert_eq!(figures.is_clean(), figures.problems.is_empty());
    figures.problems
}

#[test]
fn nothing_is_wrong_where_everything_arrived_once_in_order_and_in_time() {
    assert_eq!(problems(|_| {}), Vec::<String>::new());
    let turn = clean().turn.unwrap();
    assert_eq!((turn.delivered, turn.outcome), (10, Outcome::default()));
    assert!(
        (turn.delivery_ratio - 1.0).abs() < f64::EPSILON && (turn.deliveries_per_second - 5.0).abs() < f64::EPSILON
    );
}

#[test]
fn every_flaw_is_a_problem_that_says_what_it_is() {
    type Change = fn(&mut Figures);
    fn turn(figures: &mut Figures, deliveries: u64, change: fn(&mut Report)) {
        let mut report = Report { deliveries, ..Report::default() };
        change(&mut report);
        figures.turn = Some(Turn::of(&report, 1, 10, 1.0));
    }
    let flaws: [(Change, &str); 8] = [
        (|figures| figures.logins.connected = 9, "only 9 of 10 connections came to be: a reason"),
        (|figures| turn(figures, 8, |_| {}), "2 of 10 deliveries were lost"),
        (|figures| turn(figures, 11, |report| report.repeated = 1), "1 of 10 deliveries were delivered twice"),
        (|figures| turn(figures, 10, |report| report.out_of_order = 3), "3 of 10 deliveries were out of order"),
        (|figures| turn(figures, 10, |report| report.ended = 1), "1 connections ended: a reason"),
        (
            |figures| figures.load.busiest_client = 0.97,
            "the load clients were saturated: the busiest used 97 % of a core",
        ),
        (|figures| figures.load.producer_busy = 0.95, "the producer was saturated: it used 95 % of a core"),
        (
            |figures| figures.load.late_p99_us = Some(LATE_US + 1_000),
            "the rate was not kept: one batch in a hundred was begun 11.0 ms late",
        ),
    ];
    for (change, expected) in flaws {
        let found = problems(change);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn a_load_side_that_is_the_bound_is_only_said_where_no_rate_was_to_be_kept() {
    let mut figures = clean();
    figures.load.busiest_client = 1.0;
    figures.judge(false, None);
    assert!(figures.is_clean() && figures.notes.len() == 1, "{figures:?}");
}

#[test]
fn the_table_says_what_was_found() {
    let mut figures = clean();
    figures.judge(true, None);
    let text = figures.to_string();
    for part in [
        "10 of 10, ratio 1.000000; 0 lost, 0 twice, 0 out of order",
        "rate         5 deliveries/s",
        "verdict      clean",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
