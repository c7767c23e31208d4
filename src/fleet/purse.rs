//! The shared purse of one account: how many tokens of each of its lanes every replica holds, and
//! what refusals taught. Pure: it reads and writes nothing.
//!
//! Nobody holds more than what the others leave over, and what is given up is used by somebody else
//! only after a second: so any second holds no more calls than the lane has tokens, whatever the
//! clocks of the replicas say. Parts change only when somebody is short, so that a steady load costs
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dingtalk::api::{Learned, Use};
use crate::message::Timestamp;

/// Two moments that are nearer than this are the same: each replica writes them by its own clock.
const SAME_MS: i64 = 250;

/// One value of the bucket, under `pace:<account>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Purse {
    pub(super) lanes: BTreeMap<String, Shares>,
}

/// How one lane is shared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Shares {
    /// What each replica holds.
    parts: BTreeMap<String, Part>,
    /// What refusals taught.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) learned: Option<Learned>,
}

/// What one replica holds of a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Part {
    held: usize,
    /// Whether it is short.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    short: bool,
}

impl Purse {
    /// Reads a value; an unreadable one counts as empty.
    pub(super) fn decode(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Shares {
    /// What `me` holds.
    pub(super) fn held(&self, me: &str) -> usize {
        self.parts.get(me).copied().unwrap_or_default().held
    }

    /// Writes what `me` should hold from now on among the `live` replicas, and what it learned.
    pub(super) fn settle(
        &mut self,
        (me, live): (&str, &BTreeSet<String>),
        usage: Use,
        learned: Option<Learned>,
    ) {
        self.parts.retain(|id, _| live.contains(id));
        let short = usage.hungry && live.len() > 1;
        let held = self.part(
            me,
            live,
            Use {
                hungry: short,
                ..usage
            },
        );
        self.parts.insert(me.to_owned(), Part { held, short });
        if learned.is_some_and(|learned| self.is_news(&learned)) {
            self.learned = learned;
        }
    }

    fn part(&self, me: &str, live: &BTreeSet<String>, usage: Use) -> usize {
        let (whole, mine) = (usage.whole, self.held(me));
        let others: Vec<(&String, Part)> = self
            .parts
            .iter()
            .filter(|(id, _)| id.as_str() != me)
            .map(|(id, part)| (id, *part))
            .collect();
        let theirs: usize = others.iter().map(|(_, part)| part.held).sum();
        // One token for everybody who serves the account, so that nobody waits for the first.
        let floor = usize::from(whole >= 2 * live.len());
        let most = whole.saturating_sub(floor * live.len().saturating_sub(1));
        let short: Vec<&String> = others
            .iter()
            .filter(|(_, part)| part.short)
            .map(|(id, _)| *id)
            .collect();
        let largest = others
            .iter()
            .all(|(id, part)| part.held < mine || (part.held == mine && me < id.as_str()));
        let wanted = match (usage.hungry, short.is_empty()) {
            (true, true) => most,
            (true, false) => {
                let count = short.len() + 1;
                let shared = whole.saturating_sub(floor * live.len().saturating_sub(count));
                let rank = short.iter().filter(|id| id.as_str() < me).count();
                shared / count + usize::from(rank < shared % count)
            }
            // Somebody else needs it more: what is used stays, and a little to grow.
            (false, false) => mine.min(usage.used + usage.used.div_ceil(4)).max(floor),
            (false, true) if largest => most,
            (false, true) => mine.max(floor),
        };
        let left = whole.saturating_sub(theirs);
        // When the rate was cut, who holds most gives up what is too much.
        let kept = if mine > left && largest { left } else { mine };
        if wanted > kept {
            wanted.min(left.max(kept)).min(most)
        } else {
            wanted.min(most)
        }
    }

    /// Whether something was learned that is not written yet.
    fn is_news(&self, learned: &Learned) -> bool {
        let Some(known) = &self.learned else {
            return true;
        };
        let later =
            |one: Timestamp, other: Timestamp| one.as_millis() > other.as_millis() + SAME_MS;
        let end = |learned: &Learned| {
            let end = learned.mute.map(|(_, end)| end);
            end.unwrap_or(Timestamp::from_millis(0))
        };
        learned.rate + 1e-6 < known.rate
            || later(learned.blocked_until, known.blocked_until)
            || later(end(learned), end(known))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn live(count: usize) -> BTreeSet<String> {
        (0..count).map(|n| format!("r{n}")).collect()
    }

    fn usage(whole: usize, hungry: bool, used: usize) -> Use {
        Use {
            whole,
            held: 0,
            used,
            hungry,
        }
    }

    /// Every replica settles in turn, some rounds; who is short as `short` says.
    fn rounds(shares: &mut Shares, whole: usize, short: &[bool]) -> Vec<usize> {
        let live = live(short.len());
        for _ in 0..6 {
            for (id, hungry) in live.iter().zip(short) {
                let used = if *hungry { shares.held(id) } else { 0 };
                shares.settle((id, &live), usage(whole, *hungry, used), None);
            }
        }
        live.iter().map(|id| shares.held(id)).collect()
    }

    #[test]
    fn who_is_alone_holds_all_and_a_newcomer_gets_a_little() {
        let mut shares = Shares::default();
        assert_eq!(rounds(&mut shares, 20, &[false]), [20]);
        assert_eq!(rounds(&mut shares, 20, &[true, false]), [19, 1]);
        assert_eq!(rounds(&mut shares, 20, &[true, false, false]), [18, 1, 1]);
        // The first one dies: it is not live any more.
        let two: BTreeSet<String> = ["r1".to_owned(), "r2".to_owned()].into();
        for _ in 0..3 {
            shares.settle(("r1", &two), usage(20, true, 1), None);
            shares.settle(("r2", &two), usage(20, false, 0), None);
        }
        assert_eq!((shares.held("r1"), shares.held("r2")), (19, 1));
    }

    #[test]
    fn who_is_short_gets_what_others_do_not_use() {
        let mut shares = Shares::default();
        rounds(&mut shares, 20, &[true, false]);
        assert_eq!(rounds(&mut shares, 20, &[true, true]), [10, 10]);
        assert_eq!(rounds(&mut shares, 20, &[false, true]), [1, 19]);
        assert_eq!(
            rounds(&mut shares, 20, &[false, false]),
            [1, 19],
            "nobody is short"
        );
        assert_eq!(rounds(&mut shares, 20, &[true, true, true]), [7, 7, 6]);
    }

    #[test]
    fn a_cut_rate_and_a_single_token_are_shared_too() {
        let mut shares = Shares::default();
        rounds(&mut shares, 20, &[true, true, false]);
        let parts = rounds(&mut shares, 6, &[true, true, false]);
        assert_eq!(parts.iter().sum::<usize>(), 6);
        let parts = rounds(&mut shares, 1, &[true, true, false]);
        assert_eq!(parts.iter().sum::<usize>(), 1);
        assert_eq!(rounds(&mut shares, 20, &[true, false, false]), [18, 1, 1]);
    }

    #[test]
    fn what_was_learned_is_written_once() {
        let live = live(2);
        let learned = Learned {
            rate: 12.0,
            quiet_since: Timestamp::from_millis(1000),
            blocked_until: Timestamp::from_millis(2000),
            mute: None,
        };
        let mut shares = Shares::default();
        shares.settle(("r0", &live), usage(12, false, 0), Some(learned));
        let milder = Learned {
            rate: 13.0,
            ..learned
        };
        shares.settle(("r1", &live), usage(12, false, 0), Some(milder));
        assert_eq!(shares.learned, Some(learned));
        let mut purse = Purse::default();
        purse.lanes.insert("send_user".into(), shares);
        assert_eq!(Purse::decode(&purse.encode()), purse);
    }

    #[test]
    fn a_cut_below_the_number_of_replicas_leaves_some_with_nothing() {
        let mut shares = Shares::default();
        let idle = [false; 4];
        rounds(&mut shares, 20, &idle);
        assert_eq!(rounds(&mut shares, 2, &idle).iter().sum::<usize>(), 2);
    }

    proptest! {
        #[test]
        fn never_are_more_tokens_held_than_there_are(
            steps in prop::collection::vec((0_usize..4, any::<bool>(), 0_usize..20, 1_usize..30), 1..80),
        ) {
            let live = live(4);
            let mut shares = Shares::default();
            let whole = 20;
            for (who, hungry, used, _) in &steps {
                let id = format!("r{who}");
                let used = (*used).min(shares.held(&id));
                shares.settle((&id, &live), usage(whole, *hungry, used), None);
                let held: usize = live.iter().map(|id| shares.held(id)).sum();
                prop_assert!(held <= whole, "{held}");
            }
        }

        #[test]
        fn after_a_cut_the_parts_shrink_to_what_there_is(
            before in prop::collection::vec(any::<bool>(), 1..5),
            whole in 1_usize..20,
        ) {
            let mut shares = Shares::default();
            rounds(&mut shares, 20, &before);
            let parts = rounds(&mut shares, whole, &before);
            prop_assert!(parts.iter().sum::<usize>() <= whole, "{parts:?} of {whole}");
        }
    }
}
