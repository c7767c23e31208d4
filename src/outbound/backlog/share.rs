//! Who is held: how many requests one account holds, and how many of them may be of one chat. Pure.
//!
//! The share of a chat is a part of what is free, so a few crowded chats never take everything, and
//! many that have one request each are all held until there are too many of them.

/// Requests that one account holds. With [`URGENT`] and what is on its way to the backlog they are fewer than the
/// consumer hands out (4096, `broker::consumer`), so that it never waits for one of them.
pub(super) const HELD: usize = 3072;
/// More of them, for what is urgent and has nothing before it.
pub(super) const URGENT: usize = 512;
/// Bytes that all of them may take. Requests are texts of some kilobytes; only giants come near.
pub(super) const BYTES: usize = 64 << 20;
/// The part of the free places that one chat may have, as a divisor: at most 192 of them.
const PART: usize = 16;
/// Most requests that one fetch brings.
const FETCH: usize = 32;

/// What an account holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) held: usize,
    pub(super) bytes: usize,
}

/// What a fetch may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) most: usize,
    /// Whether what is not urgent may be fetched.
    pub(super) for_all: bool,
}

/// Whether a request of `size` bytes may be held where its lanes have `crowd` requests.
pub(super) fn fits(load: Load, crowd: usize, size: usize) -> bool {
    let places = HELD.saturating_sub(load.held);
    let of_its_size = BYTES.saturating_sub(load.bytes) / size.max(1);
    crowd < places.min(of_its_size) / PART
}

/// Whether one that is urgent may be held all the same.
pub(super) fn fits_urgent(load: Load, crowd: usize) -> bool {
    crowd == 0 && load.held < HELD + URGENT && load.bytes < BYTES
}

/// What the next fetch may bring while `fetches` are under way.
pub(super) fn refill(load: Load, fetches: usize) -> Option<Room> {
    let held = load.held + fetches * FETCH;
    let free = HELD.saturating_sub(held);
    if load.bytes >= BYTES || held >= HELD + URGENT {
        return None;
    }
    Some(Room {
        most: (free / PART).clamp(1, FETCH),
        for_all: free > 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn load(held: usize, bytes: usize) -> Load {
        Load { held, bytes }
    }

    #[test]
    fn one_chat_has_its_part_and_leaves_the_rest_to_others() {
        let alone = (0..).find(|held| !fits(load(*held, 0), *held, 100));
        assert!(alone.is_some_and(|held| (150..200).contains(&held)));
        assert!(fits(load(HELD - 16, 0), 0, 100));
        assert!(!fits(load(HELD - 15, 0), 0, 100), "not even one");
        assert!(fits_urgent(load(HELD, 0), 0));
        assert!(!fits_urgent(load(HELD, 0), 1));
        assert!(!fits_urgent(load(HELD + URGENT, 0), 0));
    }

    #[test]
    fn giants_are_held_by_their_bytes() {
        let giant = 1 << 20;
        assert!(fits(load(0, 0), 3, giant));
        assert!(!fits(load(4, 4 * giant), 4, giant));
    }

    #[test]
    fn a_fetch_brings_no_more_than_there_is_room_for() {
        let room = refill(load(0, 0), 0).unwrap();
        assert_eq!((room.most, room.for_all), (FETCH, true));
        let room = refill(load(HELD, 0), 0).unwrap();
        assert_eq!((room.most, room.for_all), (1, false));
        assert_eq!(refill(load(HELD, 0), 16), None);
        assert_eq!(refill(load(0, BYTES), 0), None);
    }
}
