//! Model.

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
    let f = Faults::default();
    let c = Case { name: "", targets: &[0, 0], preloaded: 1, page: 1, attempts: 2, long_waits: false, faults: f, states: 1 };
    let cases = [
        Case { name: "expiry, fault-free otherwise", targets: &[0, 1, 0], page: 2, faults: Faults { expiries: 1, ..f }, ..c },
        Case { name: "two expiries", faults: Faults { expiries: 2, ..f }, ..c },
        Case { name: "parked A", targets: &[0, 0, 0], page: 1, preloaded: 2, long_waits: true, faults: Faults { expiries: 1, failures: 1, ..f }, ..c },
        Case { name: "parked B", targets: &[0, 0], page: 2, preloaded: 2, attempts: 3, long_waits: true, faults: Faults { expiries: 1, failures: 2, ..f }, ..c },
        Case { name: "parked C", targets: &[0, 1, 0], page: 2, preloaded: 2, attempts: 3, long_waits: true, faults: Faults { crashes: 1, failures: 2, ..f }, ..c },
        Case { name: "crash", faults: Faults { crashes: 2, ..f }, ..c },
        Case { name: "crash+expiry", faults: Faults { crashes: 1, expiries: 1, ..f }, ..c },
        Case { name: "parked", targets: &[0, 0, 0], page: 2, preloaded: 2, long_waits: true, faults: Faults { expiries: 1, failures: 1, ..f }, ..c },
        Case { name: "parked dead", targets: &[0, 1, 0], page: 2, preloaded: 2, long_waits: true, faults: Faults { crashes: 1, failures: 2, ..f }, ..c },
        Case { name: "parked lost", targets: &[0, 0], preloaded: 1, long_waits: true, faults: Faults { expiries: 1, failures: 1, lost_settles: 1, lost_hand_outs: 1, ..f }, ..c },
        Case { name: "lost one owner", targets: &[0, 0, 0], page: 1, preloaded: 2, long_waits: true, faults: Faults { failures: 1, lost_settles: 1, lost_hand_outs: 1, breaks: 1, ..f }, ..c },
        Case { name: "breaks", targets: &[0, 0, 0], page: 2, faults: Faults { expiries: 1, breaks: 1, ..f }, ..c },
        Case { name: "lost answers", targets: &[0, 0], page: 1, faults: Faults { expiries: 1, lost_answers: 1, lost_settles: 1, breaks: 1, ..f }, ..c },
        Case { name: "wipe", targets: &[0, 0, 0], page: 2, faults: Faults { wipes: 1, expiries: 1, ..f }, ..c },
        Case { name: "wipe parked", targets: &[0, 0], page: 2, long_waits: true, faults: Faults { wipes: 1, failures: 1, expiries: 1, ..f }, ..c },
    ];
    let rules = std::env::var("RULES").is_ok();
    for case in cases {
        if std::env::var("CASE").is_ok_and(|c| c != case.name) { continue; }
        let t = std::time::Instant::now();
        let checker = Protocol { case, without: None }.checker().threads(2).spawn_bfs().join();
        println!("## {} {:?} unique {} of {} depth {} {:?}", case.name, checker.is_done(), checker.unique_state_count(), checker.state_count(), checker.max_depth(), t.elapsed());
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
                let checker = Protocol { case, without: Some(rule) }.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join();
                let found: Vec<_> = checker.discoveries().into_iter().filter(|(n, _)| checker.model().property(n).expectation != stateright::Expectation::Sometimes).map(|(n, p)| format!("[{n} @{}]", p.into_actions().len())).collect();
                println!("   - {rule:?}: {} ({:?}, {})", found.join(" "), t.elapsed(), checker.unique_state_count());
            }
        }
    }
}
const RULES: [Rule; 20] = [Rule::TermOutlivesLease, Rule::SettleComparesTerm, Rule::ReadComparesTerm, Rule::NodeComparesTerm, Rule::KillPrevious, Rule::ReaderOutlivesLease, Rule::Register, Rule::KillBeforeRegister, Rule::KillOnReconnect, Rule::GroupFromStart, Rule::RecallBeforeDrain, Rule::DrainBeforeFresh, Rule::SkipHeld, Rule::PassOverHeld, Rule::TakeBack, Rule::MoveTogether, Rule::TakeAlong, Rule::Follow, Rule::DeliverBeforeSettle, Rule::TrimKeepsPending];
#[test]
fn recount() {
    let f = Faults::default();
    let c = Case { name: "", targets: &[0, 0], preloaded: 1, page: 1, attempts: 2, long_waits: true, faults: Faults { expiries: 1, failures: 1, ..f }, states: 1 };
    for case in [c, Case { targets: &[0, 0, 0], page: 2, preloaded: 2, ..c }] {
        let p = Protocol { case, without: None };
        let mut seen: std::collections::HashSet<State> = p.init_states().into_iter().collect();
        let mut todo: Vec<State> = seen.iter().copied().collect();
        while let Some(s) = todo.pop() {
            for n in p.next_states(&s) { if seen.insert(n) { todo.push(n); } }
        }
        println!("recount {} size {}", seen.len(), std::mem::size_of::<State>());
    }
}
