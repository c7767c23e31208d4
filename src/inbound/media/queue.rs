//! What is to be fetched, by account and turn by turn, so that one account with many or slow files keeps
//! none from another. It fetches nothing.

use std::collections::{BTreeMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::errand::Errand;
use crate::message::AccountName;

/// Items under way for one account.
const PER_ACCOUNT: usize = 4;
/// Items under way in all: each holds two chunks of 128 KiB and what the sockets hold.
const IN_ALL: usize = 16;
/// Items held, waiting ones included; the rest stays in the stream until there is room.
const HELD: usize = 4096;

/// One item and how its tries went.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) errand: Errand,
    /// When it was tried first.
    pub(super) since: Option<Instant>,
    /// Tries that failed.
    pub(super) failures: u32,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: BTreeMap<AccountName, VecDeque<Waiting>>,
    later: BTreeMap<(Instant, u64), Waiting>,
    under_way: BTreeMap<AccountName, usize>,
    /// Keys of all items held.
    held: HashSet<String>,
    /// The account that had its turn last.
    turn: Option<AccountName>,
    next: u64,
}

impl Queue {
    /// Whether another item can be held.
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < HELD
    }

    /// Holds an item, unless it is held already.
    pub(super) fn push(&mut self, errand: Errand) {
        if self.held.insert(errand.object.clone()) {
            self.make_ready(Waiting {
                errand,
                since: None,
                failures: 0,
            });
        }
    }

    /// The next item whose turn it is; it counts as under way until [`Queue::again`] or
    /// [`Queue::done`].
    pub(super) fn take(&mut self) -> Option<Waiting> {
        self.wake(Instant::now());
        if self.under_way.values().sum::<usize>() >= IN_ALL {
            return None;
        }
        let behind = |name: &&AccountName| self.turn.as_ref().is_none_or(|last| *name > last);
        let free = |name: &&AccountName| {
            self.under_way.get(*name).copied().unwrap_or_default() < PER_ACCOUNT
        };
        let after = self.ready.keys().filter(behind);
        let mut in_turn = after.chain(self.ready.keys());
        let name = in_turn.find(free)?.clone();
        let waiting = self.ready.get_mut(&name)?.pop_front();
        if self.ready.get(&name).is_some_and(VecDeque::is_empty) {
            self.ready.remove(&name);
        }
        *self.under_way.entry(name.clone()).or_default() += 1;
        self.turn = Some(name);
        waiting
    }

    /// Holds an item that was under way until `at`.
    pub(super) fn again(&mut self, waiting: Waiting, at: Instant) {
        self.leave(&waiting.errand.account);
        self.next += 1;
        self.later.insert((at, self.next), waiting);
    }

    /// Lets an item go that was under way.
    pub(super) fn done(&mut self, errand: &Errand) {
        self.leave(&errand.account);
        self.held.remove(&errand.object);
    }

    /// When the next item that waits is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    fn wake(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let waiting = first.remove();
            self.make_ready(waiting);
        }
    }

    fn make_ready(&mut self, waiting: Waiting) {
        let account = waiting.errand.account.clone();
        self.ready.entry(account).or_default().push_back(waiting);
    }

    fn leave(&mut self, account: &AccountName) {
        if let Some(count) = self.under_way.get_mut(account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.under_way.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::errand::Source;
    use super::*;
    use crate::message::{MediaKind, Secret};

    fn errand(account: &str, n: usize) -> Errand {
        Errand {
            account: AccountName::parse(account).unwrap(),
            message: "m".to_owned(),
            object: format!("{account}/m/{n}"),
            source: Source::Code(Secret::new("c")),
            kind: MediaKind::File,
            name: None,
            mime: None,
        }
    }

    fn taken(queue: &mut Queue) -> Vec<Waiting> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_account_keeps_no_other_waiting() {
        let mut queue = Queue::default();
        for n in 0..100 {
            queue.push(errand("a", n));
        }
        queue.push(errand("b", 0));
        queue.push(errand("b", 0));
        let under_way = taken(&mut queue);
        let of = |name: &str| {
            let mine = under_way.iter();
            mine.filter(|each| each.errand.account.as_str() == name)
                .count()
        };
        assert_eq!((of("a"), of("b")), (PER_ACCOUNT, 1));
        assert_eq!(under_way[1].errand.account.as_str(), "b");
        queue.done(&under_way[0].errand);
        assert_eq!(queue.take().unwrap().errand.object, "a/m/4");
        assert!(queue.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_comes_again_in_its_time_and_stays_known_meanwhile() {
        let mut queue = Queue::default();
        queue.push(errand("a", 1));
        let first = queue.take().unwrap();
        let at = Instant::now() + Duration::from_secs(5);
        queue.again(first, at);
        queue.push(errand("a", 1));
        assert!(queue.take().is_none());
        assert_eq!(queue.due(), Some(at));
        tokio::time::advance(Duration::from_secs(5)).await;
        let again = queue.take().unwrap();
        assert_eq!(queue.due(), None);
        queue.done(&again.errand);
        queue.push(errand("a", 1));
        assert!(queue.take().is_some());
    }
}
