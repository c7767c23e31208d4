//! The paces of one account: which lane a family of calls waits in, and what it learns. It knows no
//! calls.

use std::time::Duration;

use super::errors::Lesson;
use super::minute::Minute;
use super::pace::{Lane, Paces};
use crate::message::{AccountName, Priority};
use crate::telemetry::ApiFamily;

/// One lane per family, and one that all card calls share: DingTalk documents the ceiling per app
/// and API and was seen to hold it over the cards of an app together (oapi.md, section 6.7).
#[derive(Debug)]
pub(super) struct Lanes {
    users: Lane,
    groups: Lane,
    webhooks: Lane,
    custom_robot: Minute,
    cards: Lane,
    frames: Lane,
    cards_and_frames: Lane,
    media: Lane,
    recalls: Lane,
    emotions: Lane,
    contacts: Lane,
}

impl Lanes {
    /// The lanes of an account, of `per_second` calls each; a custom robot's webhook has its own pace.
    pub(super) fn new(paces: &Paces, account: &AccountName, per_second: f64) -> Self {
        let lane = |name| paces.lane(account, name, per_second);
        Self {
            users: lane("send_user"),
            groups: lane("send_group"),
            webhooks: lane("webhook"),
            custom_robot: Minute::new(),
            cards: lane("card"),
            frames: lane("card_stream"),
            cards_and_frames: lane("cards"),
            media: lane("media"),
            recalls: lane("recall"),
            emotions: lane("emotion"),
            contacts: lane("contact"),
        }
    }

    /// Waits for a slot of the family and takes it.
    pub(super) async fn slot(&self, family: ApiFamily, priority: Priority) {
        if family == ApiFamily::CustomRobot {
            return self.custom_robot.slot(priority).await;
        }
        for lane in self.lanes(family).into_iter().flatten() {
            lane.slot(priority).await;
        }
    }

    /// Learns from a refusal; the wait that it demands, when it demands one.
    pub(super) fn learn(&self, family: ApiFamily, lesson: Lesson) -> Option<Duration> {
        if family == ApiFamily::CustomRobot {
            return self.custom_robot.learn(lesson);
        }
        let lanes = self.lanes(family).into_iter().flatten();
        lanes.filter_map(|lane| lane.learn(lesson)).max()
    }

    /// Sends a second that may be made now, in the slowest family of sends.
    pub(super) fn slowest_send(&self) -> f64 {
        let lanes = [&self.users, &self.groups, &self.webhooks];
        let rates = lanes.iter().map(|lane| lane.rate());
        rates.fold(f64::MAX, f64::min)
    }

    /// The lanes that a call waits in, one after the other; none for what no account paces.
    fn lanes(&self, family: ApiFamily) -> [Option<&Lane>; 2] {
        let one = |lane| [Some(lane), None];
        match family {
            ApiFamily::Gateway | ApiFamily::Token | ApiFamily::CustomRobot => [None, None],
            ApiFamily::SendUser => one(&self.users),
            ApiFamily::SendGroup => one(&self.groups),
            ApiFamily::Webhook => one(&self.webhooks),
            ApiFamily::Card => [Some(&self.cards), Some(&self.cards_and_frames)],
            ApiFamily::CardStream => [Some(&self.frames), Some(&self.cards_and_frames)],
            ApiFamily::Media => one(&self.media),
            ApiFamily::Recall => one(&self.recalls),
            ApiFamily::Emotion => one(&self.emotions),
            ApiFamily::Contact => one(&self.contacts),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cards_and_their_frames_together_keep_the_rate() {
        let lanes = Lanes::new(
            &Paces::default(),
            &AccountName::parse("sales").unwrap(),
            20.0,
        );
        let start = Instant::now();
        for _ in 0..20 {
            lanes.slot(ApiFamily::Card, Priority::Normal).await;
            lanes.slot(ApiFamily::CardStream, Priority::Normal).await;
        }
        assert!(start.elapsed() >= Duration::from_secs(1));
        // The other families do not wait for them.
        let start = Instant::now();
        for family in [ApiFamily::SendUser, ApiFamily::Media, ApiFamily::Emotion] {
            lanes.slot(family, Priority::Normal).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_frame_slows_the_cards_too() {
        let lanes = Lanes::new(
            &Paces::default(),
            &AccountName::parse("sales").unwrap(),
            20.0,
        );
        let lesson = Lesson::TooFast(Duration::from_secs(1));
        let wait = lanes.learn(ApiFamily::CardStream, lesson);
        assert_eq!(wait, Some(Duration::from_secs(1)));
        let start = Instant::now();
        lanes.slot(ApiFamily::Card, Priority::Normal).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert!((lanes.slowest_send() - 20.0).abs() < 1e-9);
    }
}
