//! Whether the messages of one connection come in order, each once. They carry numbers that count from 1.

use crate::bench::Result;

/// More missing numbers at once than this are no gap but a mistake.
const MOST_MISSING: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Order {
    last: u64,
    /// Numbers below the last that have not come.
    missing: Vec<u64>,
}

pub(super) enum Placed {
    InOrder,
    /// After one with a higher number.
    Late,
    Repeated,
}

impl Order {
    /// Takes note of a number. Those it skips count as missing until they come.
    pub(super) fn take(&mut self, number: u64) -> Result<Placed> {
        if number > self.last {
            if number - self.last > MOST_MISSING {
                return Err(format!("message {number} came after {}", self.last).into());
            }
            self.missing.extend(self.last + 1..number);
            self.last = number;
            return Ok(Placed::InOrder);
        }
        let Some(at) = self.missing.iter().position(|&missing| missing == number) else {
            return Ok(Placed::Repeated);
        };
        self.missing.swap_remove(at);
        Ok(Placed::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_told_from_what_comes_twice() {
        let mut order = Order::default();
        let placed: Vec<char> = [1, 2, 5, 4, 4, 2, 3, 6]
            .into_iter()
            .map(|number| match order.take(number).unwrap() {
                Placed::InOrder => 'o',
                Placed::Late => 'l',
                Placed::Repeated => 'r',
            })
            .collect();
        assert_eq!(placed.into_iter().collect::<String>(), "ooolrrlo");
    }
}
