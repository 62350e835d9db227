//! A journey with the times between its steps.
//!
//! Never puts clocks right: a step on another process's clock than the one before it is marked as such.

use serde::Serialize;

use super::Hop;

/// A step and how long it took to get there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step<'a> {
    /// What happened.
    #[serde(flatten)]
    pub hop: &'a Hop,
    /// Microseconds since the first step.
    pub since_first_us: u64,
    /// Microseconds since the step before.
    pub since_last_us: u64,
    /// The step before was another process's: the difference is also one of their clocks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_clock: bool,
}

/// Puts the times between the steps of a journey, which are in the order of time.
#[must_use]
pub fn steps(hops: &[Hop]) -> Vec<Step<'_>> {
    let before = hops.first().into_iter().chain(hops);
    let first_us = hops.first().map_or(0, |first| first.at_us);
    hops.iter()
        .zip(before)
        .map(|(hop, before)| Step {
            hop,
            since_first_us: hop.at_us.saturating_sub(first_us),
            since_last_us: hop.at_us.saturating_sub(before.at_us),
            other_clock: hop.node != before.node,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use gim_proto::MessageId;

    use super::*;

    #[test]
    fn a_step_tells_the_time_since_the_first_and_since_the_one_before() {
        let hop = |node: &str, at_us| Hop {
            id: MessageId::parse("m").unwrap(),
            hop: "read".into(),
            target: None,
            detail: None,
            node: node.into(),
            at_us,
        };
        let hops = [hop("a", 100), hop("a", 130), hop("b", 190)];
        let told: Vec<_> =
            steps(&hops).iter().map(|step| (step.since_first_us, step.since_last_us, step.other_clock)).collect();
        assert_eq!(told, [(0, 0, false), (30, 30, false), (90, 60, true)]);
        assert!(steps(&[]).is_empty());
        let json = serde_json::to_value(&steps(&hops)[1]).unwrap();
        let expected = serde_json::json!({
            "id": "m", "hop": "read", "node": "a", "at_us": 130, "since_first_us": 30, "since_last_us": 30,
        });
        assert_eq!(json, expected);
    }
}
