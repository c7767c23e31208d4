//! What happens in the demo, told line by line: two people speak, an echo agent answers. It knows
//! the stage, not how it was built.

use anyhow::{Context, anyhow};

use super::print;
use crate::broker::{Broker, BrokerError, Outgoing, Recorded, Replay, Shelf, Start};
use crate::message::{Inbound, Outcome, Receipt, Request, Subjects, header};
use crate::sim::{Message, Sim};

/// Group of the demo.
const GROUP: &str = "cidDemoGroup+/oA==";

/// Everything that plays a part.
pub(super) struct Stage {
    pub(super) subjects: Subjects,
    pub(super) client_id: &'static str,
    pub(super) broker: Broker,
    pub(super) sim: Sim,
}

/// Prints for people.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    print::line(text).map_err(|_| anyhow!("standard output is closed"))
}

/// What the agent hears from now on.
pub(super) async fn listen(stage: &Stage) -> anyhow::Result<Replay> {
    open(stage, Shelf::Inbound).await
}

/// The agent: answers every message on its reply subject, for ever. Any NATS client could be it.
pub(super) async fn echo(stage: &Stage, heard: &mut Replay) -> anyhow::Result<()> {
    loop {
        let recorded = next(heard).await?;
        let inbound: Inbound<'_> = serde_json::from_slice(&recorded.payload)?;
        let (Some(message), Some(reply)) = (&inbound.message, &inbound.reply) else {
            continue;
        };
        let request = Request::plain(&format!("you said: {}", message.text));
        let answer = Outgoing {
            subject: reply.subject.to_string(),
            headers: vec![(header::MSG_ID.into(), format!("echo-{}", inbound.id))],
            payload: serde_json::to_vec(&request)?.into(),
        };
        stage.broker.store(&answer).await?;
    }
}

/// Two messages, there and back.
pub(super) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    let mut watch = Watch {
        inbound: open(stage, Shelf::Inbound).await?,
        receipts: open(stage, Shelf::Receipts).await?,
        answers: 0,
    };
    let group = Message {
        nick: "小钉".to_owned(),
        title: "演示群".to_owned(),
        ..Message::in_group(GROUP, "manager1", "deploy it")
    };
    follow(stage, &mut watch, "小钉 in the group 演示群", group).await?;
    let alone = Message {
        nick: "阿里".to_owned(),
        ..Message::to_bot("manager2", "is it done?")
    };
    follow(stage, &mut watch, "阿里 to the robot alone", alone).await
}

/// What the teller looks at.
struct Watch {
    inbound: Replay,
    receipts: Replay,
    answers: usize,
}

async fn follow(
    stage: &Stage,
    watch: &mut Watch,
    who: &str,
    message: Message,
) -> anyhow::Result<()> {
    say(&format!("\n{who}: {}", message.text))?;
    let msg_id = stage.sim.say(stage.client_id, message).await?;
    say(&format!("  frame in  msgId {msg_id}"))?;
    let stored = next(&mut watch.inbound).await?;
    let frame = stage.sim.acked(&msg_id).await?;
    let took = stored.stored_at.since(frame.pushed_at).as_millis();
    say(&format!(
        "  stored    {} at sequence {}, {took} ms after the push",
        stored.subject, stored.sequence
    ))?;
    let latency = stage.sim.ack_latencies_us(frame.seq);
    let latency = latency.first().context("an acked frame has a latency")?;
    say(&format!(
        "  acked     {}.{:03} ms after the push",
        latency / 1000,
        latency % 1000
    ))?;
    watch.answers += 1;
    let inbound: Inbound<'_> = serde_json::from_slice(&stored.payload)?;
    let reply = inbound.reply.context("a chat can be answered")?;
    say(&format!("  agent     answers on {}", reply.subject))?;
    let sent = stage.sim.delivered_count(watch.answers).await?;
    let sent = sent.last().context("an answer is visible")?;
    say(&format!(
        "  sent      {} to {}",
        sent.msg_param,
        sent.to.join(", ")
    ))?;
    let recorded = next(&mut watch.receipts).await?;
    let receipt: Receipt = serde_json::from_slice(&recorded.payload)?;
    let took = receipt.finished_at.since(receipt.requested_at).as_millis();
    let outcome = serde_json::to_value(receipt.outcome)?;
    let outcome = outcome.as_str().unwrap_or_default();
    say(&format!(
        "  receipt   {outcome}, {took} ms after the request, on {}",
        recorded.subject
    ))?;
    match receipt.outcome {
        Outcome::Sent => Ok(()),
        Outcome::Failed | Outcome::Expired | Outcome::Uncertain => Err(anyhow!(
            "the answer was not sent: {}",
            receipt.message.unwrap_or_default()
        )),
    }
}

async fn open(stage: &Stage, shelf: Shelf) -> anyhow::Result<Replay> {
    let branch = match shelf {
        Shelf::Inbound => "inbound",
        Shelf::Receipts => "receipt",
    };
    let filter = stage.subjects.all(branch);
    Ok(stage.broker.replay(shelf, filter, Start::New).await?)
}

async fn next(replay: &mut Replay) -> anyhow::Result<Recorded> {
    loop {
        match replay.next().await {
            // The bridge revives its broker.
            Err(BrokerError::Away(_)) => {}
            other => return Ok(other?),
        }
    }
}
