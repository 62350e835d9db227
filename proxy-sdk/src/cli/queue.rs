//! `gim queue`: the lanes in figures.

use serde_json::json;

use super::answer::Answer;
use super::table::Table;
use super::time;
use crate::queue::LaneStats;
use crate::{Error, NodeClient};

pub(super) async fn run(client: &NodeClient) -> Result<Answer, Error> {
    let lanes = client.queue_stats().await?;
    Ok(Answer::done(table(&lanes).to_string(), json!({ "lanes": lanes })))
}

fn table(lanes: &[LaneStats]) -> Table {
    let mut table = Table::new(&["LANE", "LAG", "PENDING", "LATER", "DEAD", "OLDEST PENDING", "SETTLED"]);
    for lane in lanes {
        let oldest = match lane.oldest_pending_ms {
            0 => "-".to_owned(),
            age => time::show_age(age),
        };
        table.row([
            lane.lane.to_string(),
            lane.lag.to_string(),
            lane.pending.to_string(),
            lane.later.to_string(),
            lane.dead.to_string(),
            oldest,
            lane.settled.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_a_row() {
        let busy = LaneStats { lane: 1, lag: 20, pending: 3, later: 4, dead: 5, oldest_pending_ms: 61_000, settled: 6 };
        let lines = table(&[LaneStats::default(), busy]).to_string();
        let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["0", "0", "0", "0", "0", "-", "0"]);
        assert_eq!(rows[2], ["1", "20", "3", "4", "5", "1m", "1s", "6"]);
    }
}
