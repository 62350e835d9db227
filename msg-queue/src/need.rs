//! How much room to keep for what comes and goes all the time.
//!
//! Owns the decision, not the memory. A table that once held much is no smaller by itself, nor is a row. What passes through
//! then is spread over all of it, where nothing is in the processor's cache.

/// At least so many go between two looks at the room, and as many as there is room for: a crowd that comes again is seen.
const LOOK: usize = 256;
/// As many as there is always room for.
const FEW: usize = 16;
/// Room for more than twice as many is given back as soon as there are none.
const MANY: usize = 1_024;

/// How many there were at most, of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    most: usize,
    gone: usize,
}

impl Need {
    /// Takes note that one came, and of how many there are now.
    pub(crate) fn came(&mut self, now: usize) {
        self.most = self.most.max(now);
    }

    /// Takes note that one went, of how many are left, and of how many there is room for. Says how many to keep room for
    /// where that is far too much.
    pub(crate) fn went(&mut self, left: usize, room: usize) -> Option<usize> {
        self.gone += 1;
        if left == 0 && room > 2 * MANY {
            return Some(MANY);
        }
        if self.gone < room.max(LOOK) {
            return None;
        }
        self.gone = 0;
        let most = std::mem::replace(&mut self.most, left).max(FEW);
        (room > 4 * most).then_some(2 * most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets some come and as many go, and keeps as much room as was said.
    fn pass(need: &mut Need, room: &mut usize, most: usize) {
        (1..=most).for_each(|now| need.came(now));
        for left in (0..most).rev() {
            *room = need.went(left, *room).unwrap_or(*room);
        }
    }

    #[test]
    fn room_for_a_crowd_is_given_back_once_there_are_few() {
        let (mut need, mut room) = (Need::default(), 896);
        pass(&mut need, &mut room, 800);
        assert_eq!(room, 896, "there was just a crowd");
        (0..100).for_each(|_| pass(&mut need, &mut room, 20));
        assert_eq!(room, 40);
        (0..1_000).for_each(|_| pass(&mut need, &mut room, 1));
        assert_eq!(room, 40, "and no more than that");
    }

    #[test]
    fn room_for_very_many_goes_with_them() {
        let (mut need, mut room) = (Need::default(), 14_336);
        pass(&mut need, &mut room, 10_000);
        assert_eq!(room, MANY);
    }

    #[test]
    fn crowds_that_come_again_keep_their_room() {
        for most in [17, 100, 300, 800] {
            let (mut need, mut room) = (Need::default(), 896);
            (0..400).for_each(|_| pass(&mut need, &mut room, most));
            assert!((most..=4 * most).contains(&room), "{most}: {room}");
            let before = room;
            (0..400).for_each(|_| pass(&mut need, &mut room, most));
            assert_eq!(room, before);
        }
    }
}
