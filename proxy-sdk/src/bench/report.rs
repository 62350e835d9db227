//! What load clients have to say, and what became of the messages.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;

/// What one load client counted in one turn, or several together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Messages read, those that came twice included.
    pub deliveries: u64,
    /// Those of them that came before.
    pub repeated: u64,
    /// Those of them that came after one with a higher number.
    pub out_of_order: u64,
    /// All bytes read, of whatever.
    pub bytes: u64,
    /// Frames that are no message: welcome, notices.
    pub other: u64,
    /// Connections that ended, though nobody here wanted them to.
    pub ended: u64,
    /// Connections that were cut on purpose.
    pub cut: u64,
    /// Bytes of the shortest frame with a message, header included. 0: there was none.
    pub shortest_frame: u64,
    /// Bytes of the longest one.
    pub longest_frame: u64,
    /// From when each message was due to when it was read.
    pub latency: Histogram,
    /// The share of the time in which the busiest load client used a core.
    pub busy: f64,
    /// The longest time in which one of them did not look for anything new, in microseconds.
    pub longest_step_us: u64,
    /// The first thing that went wrong with a connection.
    pub trouble: Option<String>,
}

/// How the logins went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Logins {
    /// Connections that are in, with their groups.
    pub connected: u64,
    /// Answers that said to come back later, which was done.
    pub put_off: u64,
    /// From the first byte on the way to when it was in with its groups, waits in between included, in microseconds.
    pub latency: Histogram,
    /// How long all of them took, in seconds.
    pub seconds: f64,
    /// The share of that time in which the busiest load client used a core.
    pub busy: f64,
    /// What stopped them if not all are in.
    pub trouble: Option<String>,
}

/// What became of messages, by the numbers that each connection's messages carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Expected and not read.
    pub lost: u64,
    /// Read before.
    pub repeated: u64,
    /// Read after one with a higher number.
    pub out_of_order: u64,
}

impl Report {
    /// What both counted.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let shortest = [self.shortest_frame, other.shortest_frame].into_iter().filter(|&size| size > 0).min();
        self.latency.add(&other.latency);
        Self {
            deliveries: self.deliveries + other.deliveries,
            repeated: self.repeated + other.repeated,
            out_of_order: self.out_of_order + other.out_of_order,
            bytes: self.bytes + other.bytes,
            other: self.other + other.other,
            ended: self.ended + other.ended,
            cut: self.cut + other.cut,
            shortest_frame: shortest.unwrap_or(0),
            longest_frame: self.longest_frame.max(other.longest_frame),
            latency: self.latency,
            busy: self.busy.max(other.busy),
            longest_step_us: self.longest_step_us.max(other.longest_step_us),
            trouble: self.trouble.or(other.trouble),
        }
    }

    /// Messages that arrived, each counted once.
    #[must_use]
    pub const fn arrived(&self) -> u64 {
        self.deliveries - self.repeated
    }

    /// What became of so many.
    #[must_use]
    pub const fn outcome(&self, expected: u64) -> Outcome {
        let lost = expected.saturating_sub(self.arrived());
        Outcome { lost, repeated: self.repeated, out_of_order: self.out_of_order }
    }
}

impl Logins {
    /// How both went, at the same time.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.latency.add(&other.latency);
        Self {
            connected: self.connected + other.connected,
            put_off: self.put_off + other.put_off,
            latency: self.latency,
            seconds: self.seconds.max(other.seconds),
            busy: self.busy.max(other.busy),
            trouble: self.trouble.or(other.trouble),
        }
    }
}

impl Outcome {
    /// What became of the messages of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            repeated: self.repeated + other.repeated,
            out_of_order: self.out_of_order + other.out_of_order,
        }
    }

    /// Everything arrived once and in order.
    #[must_use]
    pub const fn is_clean(self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.out_of_order == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_several_load_clients_add_up() {
        let one = Report {
            deliveries: 10,
            repeated: 1,
            shortest_frame: 230,
            longest_frame: 231,
            busy: 0.2,
            ..Report::default()
        };
        let other = Report { deliveries: 5, out_of_order: 2, busy: 0.7, ..Report::default() };
        let both = one.and(other);
        assert_eq!((both.deliveries, both.arrived(), both.shortest_frame, both.longest_frame), (15, 14, 230, 231));
        assert_eq!(both.outcome(16), Outcome { lost: 2, repeated: 1, out_of_order: 2 });
        assert!(!both.outcome(16).is_clean() && (both.busy - 0.7).abs() < f64::EPSILON);
        assert!(Report { deliveries: 3, ..Report::default() }.outcome(3).is_clean());
    }
}
