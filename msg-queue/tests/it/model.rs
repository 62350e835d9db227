//! Model.

mod cases;
mod lane;
mod machine;
mod properties;
mod protocol;
mod redis;
mod state;
mod worker;

use self::protocol::*;
use self::state::*;
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn scratch() {
    let rules = std::env::var("RULES").is_ok();
    for (i, case) in cases::ALL.into_iter().enumerate() {
        if std::env::var("CASE").is_ok_and(|c| c != i.to_string()) {
            continue;
        }
        let t = std::time::Instant::now();
        let checker = Protocol { case, without: None }.checker().threads(2).spawn_bfs().join();
        println!(
            "## {i} {:?} {:?} unique {} of {} depth {} {:?}",
            case.faults,
            checker.is_done(),
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            t.elapsed()
        );
        let names: Vec<_> = checker.model().properties().into_iter().map(|p| (p.name, p.expectation)).collect();
        for (name, ex) in names {
            let d = checker.discovery(name);
            match (ex, d) {
                (stateright::Expectation::Sometimes, Some(_)) => println!("     ok: {name}"),
                (stateright::Expectation::Sometimes, None) => println!("     never: {name}"),
                (_, Some(p)) => println!("  VIOLATED {name}: {:?}", p.into_actions()),
                _ => {}
            }
        }
        if rules {
            for rule in RULES {
                let t = std::time::Instant::now();
                let checker = Protocol { case, without: Some(rule) }
                    .checker()
                    .finish_when(HasDiscoveries::AnyFailures)
                    .threads(2)
                    .spawn_bfs()
                    .join();
                let found: Vec<_> = checker
                    .discoveries()
                    .into_iter()
                    .filter(|(n, _)| checker.model().property(n).expectation != stateright::Expectation::Sometimes)
                    .map(|(n, p)| format!("[{n} @{}]", p.into_actions().len()))
                    .collect();
                println!("   - {rule:?}: {} ({:?}, {})", found.join(" "), t.elapsed(), checker.unique_state_count());
            }
        }
    }
}
const RULES: [Rule; 20] = [
    Rule::TermOutlivesLease,
    Rule::SettleComparesTerm,
    Rule::ReadComparesTerm,
    Rule::NodeComparesTerm,
    Rule::KillPrevious,
    Rule::ReaderOutlivesLease,
    Rule::Register,
    Rule::KillBeforeRegister,
    Rule::KillOnReconnect,
    Rule::GroupFromStart,
    Rule::RecallBeforeDrain,
    Rule::DrainBeforeFresh,
    Rule::SkipHeld,
    Rule::PassOverHeld,
    Rule::TakeBack,
    Rule::RecallByEntry,
    Rule::TakeAlong,
    Rule::Follow,
    Rule::DeliverBeforeSettle,
    Rule::TrimKeepsPending,
];
