//! Order in lanes, whatever comes and goes.

use proptest::prelude::*;

use super::*;
use crate::message::{AccountName, Target};

fn user(id: &str) -> Vec<LaneKey> {
    id.split(',')
        .map(|id| LaneKey::Chat(Kind::User, id.to_owned()))
        .collect()
}

#[test]
fn a_chat_is_served_in_the_order_of_publishing_and_delays_no_other() {
    let mut lanes = Lanes::default();
    assert!(lanes.admit(1, user("a")));
    assert!(!lanes.admit(2, user("a")));
    assert!(lanes.admit(3, user("b")));
    assert_eq!(lanes.finish(3), Vec::<u64>::new());
    assert_eq!(lanes.finish(1), [2]);
    assert_eq!(lanes.finish(2), Vec::<u64>::new());
    assert!(lanes.lanes.is_empty() && lanes.requests.is_empty());
}

#[test]
fn one_that_is_redelivered_late_still_goes_before_the_newer_ones_that_wait() {
    let mut lanes = Lanes::default();
    assert!(lanes.admit(5, user("a")));
    assert!(!lanes.admit(6, user("a")));
    assert!(!lanes.admit(4, user("a")));
    assert_eq!(lanes.finish(5), [4]);
    assert_eq!(lanes.finish(4), [6]);
}

#[test]
fn a_list_of_users_waits_for_all_of_its_chats_and_they_wait_for_it() {
    let mut lanes = Lanes::default();
    assert!(lanes.admit(1, user("a")));
    assert!(!lanes.admit(2, user("a,b")));
    assert!(!lanes.admit(3, user("b")), "b waits behind the list");
    assert_eq!(lanes.finish(1), [2]);
    assert_eq!(lanes.finish(2), [3]);
}

#[test]
fn a_long_list_waits_for_the_chats_that_its_payload_lists() {
    let users: Vec<String> = (0..21).map(|n| format!("u{n}")).collect();
    let target = Target::Users(users.clone());
    let (kind, id) = target.address().unwrap();
    let address = OutboundAddress::Canonical {
        account: AccountName::parse("sales").unwrap(),
        kind,
        id: id.into_owned(),
    };
    let body = serde_json::json!({"text": "a", "to": target}).to_string();
    let mut keys = LaneKey::of("", Some(&address), body.as_bytes());
    let mut expected = user(&users.join(","));
    for keys in [&mut keys, &mut expected] {
        keys.sort_by_key(|key| format!("{key:?}"));
    }
    assert_eq!(keys, expected);
}

#[test]
fn a_subject_that_names_no_chat_has_a_lane_of_its_own() {
    assert_eq!(
        LaneKey::of("dingtalk.outbound.sales.robot.x", None, b"hi"),
        [LaneKey::Subject("dingtalk.outbound.sales.robot.x".into())]
    );
}

#[test]
fn what_waits_can_be_let_go_and_what_is_worked_on_stays() {
    let mut lanes = Lanes::default();
    assert!(lanes.admit(1, user("a")));
    assert!(!lanes.admit(2, user("a,b")));
    assert!(!lanes.admit(3, user("b")));
    assert!(lanes.admit(4, user("c")));
    assert_eq!(lanes.clear(), [2, 3]);
    assert_eq!(lanes.requests.len(), 2);
    assert!(!lanes.admit(5, user("a")), "1 is still under way");
    assert!(lanes.admit(6, user("b")));
    assert_eq!(lanes.finish(1), [5]);
}

proptest! {
    #[test]
    fn whatever_comes_everything_ends_and_each_chat_in_order(
        requests in prop::collection::vec(prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..=4), 1..40),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let mut lanes = Lanes::default();
        let mut running = Vec::new();
        let mut served: HashMap<&str, Vec<u64>> = HashMap::new();
        for (sequence, chats) in (1..).zip(&requests) {
            if lanes.admit(sequence, user(&chats.join(","))) {
                running.push(sequence);
            }
        }
        for pick in &picks {
            if running.is_empty() {
                break;
            }
            let sequence = running.remove(pick.index(running.len()));
            let at = usize::try_from(sequence).unwrap() - 1;
            for chat in &requests[at] {
                served.entry(chat).or_default().push(sequence);
            }
            running.extend(lanes.finish(sequence));
        }
        prop_assert_eq!(lanes.requests.len(), 0);
        prop_assert!(lanes.lanes.is_empty());
        prop_assert!(served.values().all(|order| order.is_sorted()));
    }
}

#[test]
fn nothing_starts_behind_a_bar_before_it_is_raised() {
    let mut lanes = Lanes::default();
    let backlog: Arc<str> = "backlog".into();
    assert!(lanes.admit(1, user("a")));
    assert!(!lanes.admit(2, user("a")));
    assert_eq!(lanes.bar(&backlog, 5, user("a")), Vec::<u64>::new());
    assert!(!lanes.admit(9, user("a,b")), "newer than what lies there");
    assert!(!lanes.admit(3, user("a")), "older, and waits for its turn");
    assert!(lanes.is_barred(6, &user("a")) && !lanes.is_barred(4, &user("a")));
    assert_eq!(lanes.finish(1), [2]);
    assert_eq!(lanes.finish(2), [3]);
    assert_eq!(lanes.low(2), [Arc::clone(&backlog)]);
    assert_eq!(lanes.low(2), Vec::<Arc<str>>::new(), "said once");
    assert_eq!(lanes.finish(3), Vec::<u64>::new());
    assert_eq!(lanes.raise(&backlog, Some(7)), Vec::<u64>::new());
    assert_eq!(lanes.raise(&backlog, None), [9]);
    assert_eq!(lanes.finish(9), Vec::<u64>::new());
    assert!(lanes.lanes.is_empty() && lanes.bars.is_empty());
}

#[test]
fn a_bar_is_low_only_where_it_is_the_first_of_all_its_lanes() {
    let mut lanes = Lanes::default();
    let [list, alone]: [Arc<str>; 2] = ["list".into(), "alone".into()];
    lanes.bar(&list, 8, user("a,b"));
    lanes.bar(&alone, 5, user("a"));
    assert_eq!(lanes.low(1), [Arc::clone(&alone)]);
    assert_eq!(lanes.ceiling(&alone), 8);
    assert_eq!(lanes.ceiling(&list), 5);
    lanes.raise(&alone, Some(9));
    assert_eq!(lanes.low(1), [list]);
}
