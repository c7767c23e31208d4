//! `tail`: what DingTalk delivered, from any point and on as it comes. It changes nothing.

use anyhow::anyhow;
use clap::Args;

use super::exit::Failure;
use super::settings::{self, BrokerArgs};
use super::{print, span};
use crate::broker::{BrokerError, Recorded, Replay, Shelf, Start};
use crate::message::{
    AccountName, CardAction, Inbound, Kind, MessageBody, Subjects, Timestamp, encode_token,
};

/// Show what DingTalk delivered: follow it, or replay what is stored
///
/// Without --since or --from-seq only new messages are shown. Nothing is acknowledged and no place is kept, so any
/// number of people can look without disturbing a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk tail\n  \
    nats-dingtalk tail --since 1h --chat cid6KeB+/oA== --no-follow\n  \
    nats-dingtalk tail --from-seq 1 --json | jq .message.text")]
pub(super) struct TailArgs {
    /// Only this account
    #[arg(short, long, value_parser = |text: &str| AccountName::parse(text))]
    account: Option<AccountName>,
    /// Only this chat: openConversationId, staffId, card or event type, exactly as in the messages
    #[arg(long, value_name = "ID")]
    chat: Option<String>,
    /// Begin with what was stored then: 10m, 2h, 7d ago, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = |text: &str| span::instant(text, Timestamp::now()))]
    since: Option<Timestamp>,
    /// Begin with this stream sequence
    #[arg(long, value_name = "N", conflicts_with = "since")]
    from_seq: Option<u64>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// End when everything that is stored has been shown
    #[arg(long)]
    no_follow: bool,
    /// Print the bodies as JSON, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Prints until there is no more to print, or somebody interrupts.
pub(super) async fn execute(args: TailArgs) -> Result<(), Failure> {
    let config = args.broker.load_quietly()?;
    let broker = settings::connect(&config).await?;
    let filter = filter(
        &config.nats.subjects,
        args.account.as_ref(),
        args.chat.as_deref(),
    );
    let replay = broker
        .replay(Shelf::Inbound, filter, start(&args))
        .await
        .map_err(Failure::failed)?;
    let shown = tokio::select! {
        shown = show(&args, replay) => shown,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    broker.close().await;
    shown
}

fn start(args: &TailArgs) -> Start {
    match (args.since, args.from_seq) {
        (Some(at), _) => Start::Since(at),
        (None, Some(sequence)) => Start::Sequence(sequence),
        (None, None) if args.no_follow => Start::Oldest,
        (None, None) => Start::New,
    }
}

fn filter(subjects: &Subjects, account: Option<&AccountName>, chat: Option<&str>) -> String {
    let account = account.map_or("*", AccountName::as_str);
    let rest = chat.map_or_else(|| ">".to_owned(), |id| format!("*.{}", encode_token(id)));
    format!("{}.{account}.{rest}", subjects.branch("inbound"))
}

async fn show(args: &TailArgs, mut replay: Replay) -> Result<(), Failure> {
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut away = false;
    while left > 0 && !(args.no_follow && replay.is_caught_up()) {
        match replay.next().await {
            Ok(recorded) => {
                away = false;
                left -= 1;
                print::line(&render(args, &recorded))?;
            }
            Err(BrokerError::Away(reason)) if !args.no_follow => {
                if !away {
                    print::aside(&format!("waiting for the broker: {reason}"));
                }
                away = true;
            }
            Err(error) => return Err(Failure::Failed(anyhow!(error))),
        }
    }
    Ok(())
}

fn render(args: &TailArgs, recorded: &Recorded) -> String {
    if args.json {
        return print::one_line(&recorded.payload);
    }
    match serde_json::from_slice::<Inbound<'_>>(&recorded.payload) {
        Ok(inbound) => readable(&inbound),
        Err(_) => format!(
            "{} {} ({} bytes that are no inbound message)",
            recorded.stored_at,
            print::plain(&recorded.subject),
            recorded.payload.len()
        ),
    }
}

/// Time, account, chat, sender, text.
fn readable(inbound: &Inbound<'_>) -> String {
    let at = inbound.sent_at.unwrap_or(inbound.received_at);
    let mut line = format!("{at} {}", print::plain(&inbound.account));
    match &inbound.chat {
        Some(chat) if inbound.kind == Kind::Group => {
            let title = chat.title.as_deref().unwrap_or(&chat.id);
            line += &format!(" [{}]", print::plain(title));
        }
        _ => line += &format!(" [{}]", inbound.kind),
    }
    if let Some(sender) = &inbound.sender {
        let name = [&sender.nick, &sender.staff_id, &sender.id]
            .into_iter()
            .flatten()
            .next();
        let name = name.map_or("somebody", |name| name);
        line += &format!(" {}", print::plain(name));
        if let (Some(_), Some(staff)) = (&sender.nick, &sender.staff_id) {
            line += &format!(" ({})", print::plain(staff));
        }
    }
    line += ": ";
    line += &said(inbound);
    line
}

fn said(inbound: &Inbound<'_>) -> String {
    let mut said = match (&inbound.message, &inbound.card, &inbound.topic) {
        (Some(message), ..) => words(message),
        (None, Some(card), _) => pressed(card),
        (None, None, Some(topic)) => print::plain(topic).into_owned(),
        (None, None, None) => "(nothing readable)".to_owned(),
    };
    if let Some(notice) = &inbound.notice {
        let text = notice.message.as_deref().unwrap_or_default();
        said += &format!(" (DingTalk says {} {})", notice.code, print::plain(text));
    }
    said
}

fn words(message: &MessageBody<'_>) -> String {
    let mut words = print::plain(&message.text).into_owned();
    for media in &message.media {
        let name = media
            .name
            .as_deref()
            .map(|name| format!(" {}", print::plain(name)));
        let kind = format!("{:?}", media.kind).to_lowercase();
        words += &format!(" <{kind}{}>", name.unwrap_or_default());
    }
    if words.trim().is_empty() {
        words = format!("<{}>", print::plain(&message.message_type));
    }
    words.trim_start().to_owned()
}

fn pressed(card: &CardAction<'_>) -> String {
    let id = card.out_track_id.as_deref().unwrap_or("a card");
    let actions = card.actions.join(", ");
    format!("pressed {} on {}", print::plain(&actions), print::plain(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: serde_json::Value) -> String {
        let text = json.to_string();
        readable(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_line_tells_time_account_chat_sender_and_text() {
        let line = shown(serde_json::json!({
            "id": "d:m", "account": "sales", "kind": "group",
            "chat": {"id": "cid==", "type": "group", "title": "Ops"},
            "sender": {"staff_id": "manager1", "nick": "小钉\u{1b}[2J"},
            "message": {"type": "picture", "text": "look\nhere", "media": [{"kind": "image"}], "quoted": null},
            "sent_at": "2026-11-20T10:00:00.123Z", "received_at": "2026-11-20T10:00:00.301Z", "raw": {},
        }));
        let expected =
            "2026-11-20T10:00:00.123Z sales [Ops] 小钉[2J (manager1): look\n    here <image>";
        assert_eq!(line, expected);
    }

    #[test]
    fn cards_events_and_unknown_frames_have_a_line_too() {
        let base = |kind: &str, key: &str, value: serde_json::Value| {
            shown(serde_json::json!({
                "id": "d:m", "account": "a", "kind": kind, "received_at": "2026-11-20T10:00:00Z", key: value,
            }))
        };
        let card = serde_json::json!({"out_track_id": "t1", "actions": ["ok"], "params": {}});
        assert!(base("card", "card", card).ends_with("a [card]: pressed ok on t1"));
        assert!(
            base("event", "topic", "chat_update_title".into()).ends_with(": chat_update_title")
        );
        assert!(base("other", "raw", 1.into()).ends_with(": (nothing readable)"));
    }

    #[test]
    fn filters_name_one_chat_exactly() {
        let subjects = Subjects::new("dingtalk").unwrap();
        let sales = AccountName::parse("sales").unwrap();
        assert_eq!(filter(&subjects, None, None), "dingtalk.inbound.*.>");
        let one = filter(&subjects, Some(&sales), Some("cid a=="));
        assert_eq!(one, "dingtalk.inbound.sales.*.cid%20a==");
    }
}
