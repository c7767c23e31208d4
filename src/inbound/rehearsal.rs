//! The path of one frame without sockets: text in, stored message and acknowledgement out. For whoever
//! measures or tries it; it does what the loop does to a frame, and waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::admit::Admitter;
use super::responder::Callbacks;
use super::sessions;
use super::{Policies, Rules};
use crate::broker::{Outgoing, rehearse};
use crate::config::{Media, Policy};
use crate::dingtalk::stream::{Aside, Delivery, Frame};
use crate::message::{AccountName, SessionEntry, Subjects, Timestamp};
use crate::telemetry::{CardChats, FrameOutcome, Metrics};

/// One account that lets everything in, with nothing around it.
#[derive(Debug)]
pub struct Rehearsal {
    admitter: Admitter,
    account: AccountName,
    client_id: Arc<str>,
    acks: Aside,
    webhooks: mpsc::Receiver<(String, SessionEntry)>,
    metrics: Metrics,
}

impl Rehearsal {
    /// For the frames of one account.
    pub fn new(subjects: Subjects, account: AccountName, client_id: &str) -> Self {
        let rules = Rules {
            policy: Policy::default(),
            media: Media::Fetch,
        };
        let policies: Policies = Arc::new(BTreeMap::from([(account.clone(), rules)]));
        let (_, policies) = watch::channel(policies);
        let (sessions, webhooks, _) = sessions::queue();
        let metrics = Metrics::new();
        let around = (sessions, Callbacks::unheard(), CardChats::default());
        Self {
            admitter: Admitter::new(subjects, policies, around, metrics.clone()),
            account,
            client_id: client_id.into(),
            acks: Aside::default(),
            webhooks,
            metrics,
        }
    }

    /// What a frame becomes, and what DingTalk is answered once the broker has said `answer` to it, the
    /// payload of a PubAck. `None` when it cannot be published or is not answered.
    pub fn pass(&mut self, text: &str, answer: Bytes) -> Option<(Outgoing, String)> {
        let frame = Frame::decode(text.into());
        self.metrics.frame_received(&self.account);
        let delivery = Delivery {
            account: self.account.clone(),
            client_id: Arc::clone(&self.client_id),
            ticket: self.acks.ticket(&frame),
            frame,
            received: Instant::now(),
            received_at: Timestamp::now(),
        };
        let mut flight = self.admitter.admit(delivery)?;
        rehearse(&flight.message, answer).ok()?;
        flight.acknowledge(&self.metrics);
        flight.end(FrameOutcome::Stored, &self.metrics);
        // The writer of webhooks would have taken it.
        let _ = self.webhooks.try_recv();
        Some((flight.message, self.acks.written()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_becomes_its_message_and_its_acknowledgement_without_a_socket() {
        let account = AccountName::parse("sales").unwrap();
        let subjects = Subjects::new("dingtalk").unwrap();
        let mut rehearsal = Rehearsal::new(subjects, account, "dingclient");
        let frame = include_str!("../../tests/frames/07-callback-bot-text-group-doc.json");
        let stored = || Bytes::from_static(br#"{"stream":"DINGTALK_INBOUND","seq":7}"#);
        for _ in 0..20 {
            let (message, ack) = rehearsal.pass(frame, stored()).unwrap();
            assert!(message.message_id().starts_with("dingclient:msg"));
            assert!(ack.contains(r#""messageId":"212ca9d7_974_1898c159aa6_1783b""#));
        }
        let refused = Bytes::from_static(br#"{"error":{"code":503,"err_code":10077}}"#);
        assert!(rehearsal.pass(frame, refused).is_none());
    }
}
