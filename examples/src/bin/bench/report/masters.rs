//! One line per load on so many masters, as it comes; then the medians, load by load.

use crate::args::Settings;
use crate::masters::{Cost, Masters, Run};

/// The lines of one run. The heading stands above the first.
pub(crate) fn run(run: &Run, settings: &Settings) {
    if run.round == 1 && settings.masters.first() == Some(&run.masters) {
        let each = if settings.each_master { " for each master" } else { "" };
        println!(
            "\nmasters    mode cluster: a node, a worker; {} lanes, {} messages/s, {} durable ones{each}; by the SDK",
            settings.lanes, settings.unicast_rate, settings.durable_rate
        );
        println!(
            "           us: CPU time per login or message of each process, idle per second; redis: of all masters"
        );
        println!("           together; uneven: what the busiest master had, as a multiple of an even share");
        println!(
            "\n  {:>5} {:>7} {:>8} {:>9} {:>9} {:>9} {:>7} {:>8} {:>8} {:>7}",
            "round", "masters", "load", "node us", "worker us", "redis us", "uneven", "p50 ms", "p99 ms", "others"
        );
    }
    for cost in &run.loads {
        let Cost { load, node, worker, others_seconds, .. } = cost;
        let ms = |micros: u64| format!("{:.2}", micros as f64 / 1e3);
        let (p50, p99) = cost.latency_us().map(|(p50, p99)| (ms(p50), ms(p99))).unwrap_or_default();
        println!(
            "  {:>5} {:>7} {load:>8} {node:>9.1} {worker:>9.1} {:>9.1} {:>7.2} {p50:>8} {p99:>8} {others_seconds:>7.2}",
            run.round,
            run.masters,
            cost.redis(),
            cost.uneven()
        );
        cost.problems().iter().for_each(|problem| println!("        {problem}"));
    }
}

pub(crate) fn masters(found: &Masters, settings: &Settings) {
    println!(
        "\n           medians\n  {:>8} {:>7} {:>9} {:>9} {:>9} {:>14} {:>7} {:>8} {:>8}",
        "load", "masters", "node us", "worker us", "redis us", "us each master", "uneven", "p50 ms", "p99 ms"
    );
    let loads = found.runs.first().map_or(&[][..], |run| &run.loads);
    for load in loads.iter().map(|cost| cost.load) {
        for &masters in &settings.masters {
            let median = |of: fn(&Cost) -> f64| found.median(masters, load, of);
            let redis = median(Cost::redis);
            let (p50, p99) = match loads.iter().any(|cost| cost.load == load && cost.figures.is_some()) {
                true => {
                    let p50 = median(|cost| cost.latency_us().map_or(f64::NAN, |(p50, _)| p50 as f64 / 1e3));
                    let p99 = median(|cost| cost.latency_us().map_or(f64::NAN, |(_, p99)| p99 as f64 / 1e3));
                    (format!("{p50:.2}"), format!("{p99:.2}"))
                }
                false => <(String, String)>::default(),
            };
            println!(
                "  {load:>8} {masters:>7} {:>9.1} {:>9.1} {redis:>9.1} {:>14.1} {:>7.2} {p50:>8} {p99:>8}",
                median(|cost| cost.node),
                median(|cost| cost.worker),
                redis / masters as f64,
                median(Cost::uneven)
            );
        }
    }
}
