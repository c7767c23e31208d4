//! Many outbound requests at once, and what became of each.

use std::collections::BTreeMap;

use nats_dingtalk::sim::Sim;
use serde_json::json;

use super::books::count;
use super::nats::Nats;
use super::wait::{self, PATIENCE};
use super::world::messages;

/// Requests `from..to`, published in turn to `chats` groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) chats: usize,
}

impl Orders {
    /// The first `count` requests.
    pub(crate) fn first(count: usize, chats: usize) -> Self {
        Self {
            from: 0,
            to: count,
            chats,
        }
    }

    /// Publishes them and waits for every PubAck.
    pub(crate) async fn publish(&self, nats: &Nats) {
        let jetstream = nats.jetstream().await;
        let mut acks = Vec::new();
        for number in self.from..self.to {
            let subject = format!(
                "dingtalk.outbound.sales.group.cidOrders{:03}==",
                number % self.chats
            );
            let body = json!({"id": format!("order-{number}"), "text": number.to_string()});
            let ack = jetstream.publish(subject, body.to_string().into()).await;
            acks.push(ack.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Waits until all have ended; fails unless each has one receipt, none was seen twice, what is
    /// receipted as sent was seen, and every chat saw its texts in order. How many are uncertain.
    pub(crate) async fn settle(&self, nats: &Nats, sim: &Sim) -> usize {
        wait::within(PATIENCE * 2, "an empty stream of requests", async || {
            let receipts = count(nats, "DINGTALK_RECEIPT").await?;
            let left = count(nats, "DINGTALK_OUTBOUND").await?;
            (left == 0 && receipts >= self.to as u64).then_some(())
        })
        .await;
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        let mut newest: BTreeMap<String, usize> = BTreeMap::new();
        for sent in sim.delivered() {
            let number: usize = sent.text().parse().unwrap();
            *seen.entry(number).or_default() += 1;
            let chat = sent.to.join(",");
            let before = newest.insert(chat.clone(), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{chat}: {number} after {before:?}"
            );
        }
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "sent more than once: {twice:?}");
        let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for stored in messages(nats, "DINGTALK_RECEIPT").await.unwrap() {
            let text = |key: &str| stored.body[key].as_str().unwrap().to_owned();
            outcomes
                .entry(text("id"))
                .or_default()
                .push(text("outcome"));
        }
        let mut uncertain = 0;
        for number in 0..self.to {
            let receipts = outcomes.get(&format!("order-{number}"));
            let receipts = receipts.map_or(&[][..], Vec::as_slice);
            match receipts {
                [outcome] if outcome == "sent" => {
                    assert!(seen.contains_key(&number), "{number} was never seen");
                }
                [outcome] if outcome == "uncertain" => uncertain += 1,
                other => panic!("receipts of {number}: {other:?}"),
            }
        }
        uncertain
    }
}
