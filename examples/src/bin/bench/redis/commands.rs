//! What Redis was asked in a span of time, command by command, as it counts itself.
//!
//! It counts what scripts call, too: an `EVALSHA` that appends a thousand entries is a thousand and one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct Commands(BTreeMap<String, Calls>);

#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    /// CPU time of Redis within the command, in microseconds; of a script, with everything it calls.
    pub(crate) micros: u64,
}

impl Commands {
    /// Reads `INFO commandstats`.
    pub(super) fn parse(text: &str) -> Self {
        let parse = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let number = |key: &str| rest.split(',').find_map(|part| part.strip_prefix(key)?.parse().ok());
            Some((name.to_owned(), Calls { calls: number("calls=")?, micros: number("usec=")? }))
        };
        Self(text.lines().filter_map(parse).collect())
    }

    /// What was asked since an earlier reading, without the readings themselves.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = Self::default();
        for (name, now) in self.0.iter().filter(|(name, _)| *name != "info") {
            let then = before.0.get(name).copied().unwrap_or_default();
            let (calls, micros) = (now.calls - then.calls, now.micros - then.micros);
            if calls > 0 {
                since.0.insert(name.clone(), Calls { calls, micros });
            }
        }
        since
    }

    /// Takes out calls of the conductor.
    pub(crate) fn without(mut self, name: &str, calls: u64) -> Self {
        if let Some(counted) = self.0.get_mut(name) {
            let left = counted.calls.saturating_sub(calls);
            // Of a fixed cost each, as far as one can tell.
            counted.micros = counted.micros * left / counted.calls.max(1);
            counted.calls = left;
        }
        self.0.retain(|_, counted| counted.calls > 0);
        self
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|calls| calls.calls).sum()
    }

    /// Commands by how often they were called, most first.
    pub(crate) fn ranked(&self) -> Vec<(&str, Calls)> {
        let mut ranked: Vec<(&str, Calls)> = self.0.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
        ranked.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.calls));
        ranked
    }

    /// `messages`: those that they were for.
    pub(crate) fn to_json(&self, messages: u64) -> Value {
        let each =
            |(name, calls): (&str, Calls)| (name.to_owned(), json!({ "calls": calls.calls, "us": calls.micros }));
        let by_name: serde_json::Map<String, Value> = self.ranked().into_iter().map(each).collect();
        json!({ "per_message": self.total() as f64 / messages.max(1) as f64, "commands": by_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# Commandstats\r\ncmdstat_xadd:calls=10,usec=20,usec_per_call=2.00,rejected_calls=0\r\n";
    const AFTER: &str = "# Commandstats\r\ncmdstat_xadd:calls=30,usec=70,usec_per_call=2.00,rejected_calls=0\r\n\
        cmdstat_info:calls=2,usec=9,usec_per_call=4.50\r\ncmdstat_xinfo|groups:calls=7,usec=7,usec_per_call=1.00\r\n";

    #[test]
    fn calls_are_those_between_two_readings_and_not_the_conductors() {
        let asked = Commands::parse(AFTER).since(&Commands::parse(BEFORE)).without("xinfo|groups", 7);
        let ranked: Vec<_> =
            asked.ranked().into_iter().map(|(name, calls)| (name, calls.calls, calls.micros)).collect();
        assert_eq!((asked.total(), ranked), (20, vec![("xadd", 20, 50)]));
    }
}
