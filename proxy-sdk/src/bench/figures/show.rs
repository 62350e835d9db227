//! Figures as a table for people.

use std::fmt;

use super::{Figures, Load, LoginFigures, Percentiles, Server, Turn};
use crate::bench::report::Outcome;

fn ms(micros: u64) -> f64 {
    micros as f64 / 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

impl fmt::Display for Percentiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p999, max] = [self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us].map(ms);
        write!(formatter, "p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<12} {}", self.what, self.asked)?;
        let LoginFigures { connected, put_off, seconds, latency } = &self.logins;
        writeln!(
            formatter,
            "{:<12} {connected} of {} in {seconds:.1} s, {put_off} put off; {latency}",
            "logins", self.wanted
        )?;
        if let Some(turn) = &self.turn {
            turn.show(formatter)?;
        }
        let each = if self.turn.is_some() { "delivery" } else { "login" };
        for server in &self.servers {
            server.show(each, formatter)?;
        }
        writeln!(formatter, "{:<12} {:.2} s of CPU", "others", self.others_cpu_seconds)?;
        self.load.show(formatter)?;
        for note in &self.notes {
            writeln!(formatter, "{:<12} {note}", "note")?;
        }
        match self.problems.as_slice() {
            [] => write!(formatter, "{:<12} clean", "verdict"),
            problems => {
                write!(formatter, "{:<12} not clean", "verdict")?;
                problems.iter().try_for_each(|problem| write!(formatter, "\n{:<12} {problem}", ""))
            }
        }
    }
}

impl Turn {
    fn show(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { lost, repeated, out_of_order } = self.outcome;
        writeln!(
            formatter,
            "{:<12} {} of {}, ratio {:.6}; {lost} lost, {repeated} twice, {out_of_order} out of order; {} connections ended, {} cut",
            "delivered", self.delivered, self.expected, self.delivery_ratio, self.ended, self.cut
        )?;
        let per_second = self.deliveries_per_second;
        writeln!(
            formatter,
            "{:<12} {per_second:.0} deliveries/s, {} messages in {:.1} s",
            "rate", self.sent, self.seconds
        )?;
        writeln!(formatter, "{:<12} {}, over all deliveries, from when each was due", "latency", self.latency)
    }
}

impl Server {
    fn show(&self, each: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, pids, cpu_seconds, cpu_us_each, rss_before_bytes, rss_after_bytes } = self;
        let processes = if pids.len() == 1 { String::new() } else { format!(" x{}", pids.len()) };
        writeln!(
            formatter,
            "{:<12} {cpu_seconds:.2} s of CPU, {cpu_us_each:.2} us per {each}; RSS {:.1} MiB, then {:.1} MiB",
            format!("{name}{processes}"),
            mib(*rss_before_bytes),
            mib(*rss_after_bytes)
        )
    }
}

impl Load {
    fn show(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, producer) = (self.busiest_client * 100.0, self.producer_busy * 100.0);
        let plural = if self.clients == 1 { "" } else { "s" };
        write!(formatter, "{:<12} {} client{plural}, busiest {client:.0} % of a core", "load side", self.clients)?;
        if let (Some(late), Some(latest)) = (self.late_p99_us, self.late_max_us) {
            let (late, latest) = (ms(late), ms(latest));
            write!(
                formatter,
                "; {} producer {producer:.0} %, begun at most {late:.2} (p99), {latest:.2} (max) ms late",
                self.producer
            )?;
        }
        writeln!(formatter)
    }
}
