//! `send`: one message to one chat, and what became of it. It knows no DingTalk: it is a client of
//! the bridge like any other.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, ValueEnum};

use super::exit::{Failure, even_unread};
use super::settings::{self, BrokerArgs};
use super::{media, print, span};
use crate::broker::{Broker, BrokerError, Outgoing, Replay, Shelf, Start, Stored};
use crate::config::Config;
use crate::message::{
    AccountName, Attachment, Markdown, Outcome, Receipt, Request, RequestId, Target, Timestamp,
    header,
};

/// Letters of a random id.
const ID_LETTERS: usize = 12;

/// Send one message to a chat and wait for its receipt
///
/// The text is the argument, or standard input when it is `-` or missing. The message is stored in the broker
/// first; it is sent as soon as a bridge serves the account, even if nobody waits any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk send sales user:manager1 'the report is ready'\n  \
    nats-dingtalk send sales group:cid6KeB+/oA== --markdown --title Build < build.md\n  \
    nats-dingtalk send sales user:manager1 --file report.pdf\n  \
    nats-dingtalk send sales user:manager1 'paid' --id order-42-paid   # again: not sent twice")]
pub(super) struct SendArgs {
    /// Account that sends
    #[arg(value_parser = |text: &str| AccountName::parse(text))]
    account: AccountName,
    /// Who gets it: user:STAFF_ID or group:OPEN_CONVERSATION_ID
    #[arg(value_name = "TARGET", value_parser = target)]
    to: Target,
    /// What is said; `-` or nothing reads standard input
    text: Option<String>,
    /// The text is markdown
    #[arg(short, long)]
    markdown: bool,
    /// Title of the markdown, shown in notifications [default: its first line]
    #[arg(long, requires = "markdown")]
    title: Option<String>,
    /// Send a file instead of text; it is put into the object store first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "markdown"])]
    file: Option<PathBuf>,
    /// What the file is sent as [default: by its ending]
    #[arg(
        long = "as",
        value_name = "KIND",
        requires = "file",
        conflicts_with = "text"
    )]
    kind: Option<FileKind>,
    /// Name that receivers see [default: that of the file]
    #[arg(long, requires = "file", conflicts_with = "text")]
    name: Option<String>,
    /// Idempotency key: under one key at most one message is sent [default: a random one]
    #[arg(long, value_name = "KEY", value_parser = |text: &str| RequestId::parse(text))]
    id: Option<RequestId>,
    /// How long to wait for the receipt
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::duration)]
    timeout: Duration,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What a file is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileKind {
    /// Shown in the chat: jpg, png, gif, bmp
    Image,
    /// To be downloaded: doc, xls, ppt, pdf, zip, rar
    File,
    /// To be listened to: amr, mp3, wav
    Audio,
    /// To be watched: mp4
    Video,
}

impl FileKind {
    /// By the ending of a name, after what DingTalk takes as each (oapi.md, section 5.1).
    fn of(name: &str) -> Self {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" | "png" | "gif" | "bmp" => Self::Image,
            "amr" | "mp3" | "wav" => Self::Audio,
            "mp4" => Self::Video,
            _ => Self::File,
        }
    }
}

fn target(text: &str) -> Result<Target, String> {
    let target: Target = serde_json::from_value(text.into()).map_err(|_| {
        format!("`{text}` is no target; write user:<staffId> or group:<openConversationId>")
    })?;
    target.check().map_err(|error| error.to_string())?;
    Ok(target)
}

/// Sends, waits, prints the receipt; fails unless it says `sent`.
pub(super) async fn execute(args: SendArgs) -> Result<(), Failure> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => random_id()?,
    };
    let said = match &args.file {
        Some(path) => Said::File(media::Source::open(path).await?),
        None => Said::Text(Box::new(text(&args)?)),
    };
    let config = args.broker.load_quietly()?;
    let broker = settings::connect(&config).await?;
    let payload = match said {
        Said::Text(request) => payload(*request, &id)?,
        Said::File(file) => payload(shelved(&args, file, &broker).await?, &id)?,
    };
    let receipts = config.nats.subjects.receipt(&args.account, &id);
    // Opened before the request is stored, so that no receipt comes too early; one that is there
    // already is the outcome of this key.
    let replay = broker
        .replay(Shelf::Receipts, receipts.clone(), Start::Newest)
        .await
        .map_err(Failure::failed)?;
    let stored = broker
        .store(&request(&args, &config, &id, payload)?)
        .await
        .map_err(Failure::failed)?;
    if stored.duplicate {
        print::aside(&format!(
            "id {id} was used a moment ago: nothing new is sent"
        ));
    }
    let receipt = tokio::time::timeout(args.timeout, first(replay)).await;
    broker.close().await;
    match receipt {
        Ok(receipt) => show(&args, &receipt.map_err(Failure::failed)?),
        Err(_) => Err(Failure::Failed(late(&args, stored, &receipts))),
    }
}

/// What is to be sent, before anything is stored.
enum Said {
    Text(Box<Request>),
    File(media::Source),
}

/// Puts the file into the store; the request that names it there.
async fn shelved(
    args: &SendArgs,
    mut file: media::Source,
    broker: &Broker,
) -> Result<Request, Failure> {
    if file.size == 0 {
        return Err(Failure::Usage(anyhow!(
            "the file is empty, which DingTalk does not take"
        )));
    }
    let name = args.name.as_deref().map(media::checked_name).transpose()?;
    let name = name.unwrap_or_else(|| file.name.clone());
    let kind = args.kind.unwrap_or_else(|| FileKind::of(&name));
    let key = file.put(broker, None, Some(name.clone())).await?;
    let attachment = Some(Attachment {
        object: Some(key),
        name: Some(name),
        ..Attachment::default()
    });
    let mut request = Request::default();
    match kind {
        FileKind::Image => request.image = attachment,
        FileKind::File => request.file = attachment,
        FileKind::Audio => request.audio = attachment,
        FileKind::Video => request.video = attachment,
    }
    Ok(request)
}

fn text(args: &SendArgs) -> Result<Request, Failure> {
    let text = match args.text.as_deref() {
        Some(text) if text != "-" => text.to_owned(),
        _ => read_input()?,
    };
    let request = if args.markdown {
        Request {
            markdown: Some(Markdown {
                title: args.title.clone(),
                text,
            }),
            ..Request::default()
        }
    } else {
        Request::plain(&text)
    };
    Ok(request)
}

fn payload(mut request: Request, id: &RequestId) -> Result<Bytes, Failure> {
    request.id = Some(id.clone());
    request.content().map_err(Failure::usage)?;
    Ok(serde_json::to_vec(&request)
        .map_err(Failure::failed)?
        .into())
}

fn read_input() -> Result<String, Failure> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        print::aside("reading the text from standard input; end it with Ctrl-D");
    }
    let mut text = String::new();
    input
        .read_to_string(&mut text)
        .context("cannot read the text from standard input")
        .map_err(Failure::Failed)?;
    Ok(text.trim_end().to_owned())
}

fn request(
    args: &SendArgs,
    config: &Config,
    id: &RequestId,
    payload: Bytes,
) -> Result<Outgoing, Failure> {
    let (kind, chat) = args.to.address().ok_or_else(|| {
        Failure::Usage(anyhow!(
            "a target is user:<staffId> or group:<openConversationId>"
        ))
    })?;
    Ok(Outgoing {
        subject: config.nats.subjects.outbound(&args.account, kind, &chat),
        headers: vec![
            (header::MSG_ID.into(), id.as_str().to_owned()),
            (header::CONTENT_TYPE.into(), "application/json".to_owned()),
        ],
        payload,
    })
}

/// The receipt, however often the broker goes away meanwhile.
async fn first(mut replay: Replay) -> anyhow::Result<Receipt> {
    loop {
        match replay.next().await {
            Ok(recorded) => {
                return serde_json::from_slice(&recorded.payload)
                    .with_context(|| format!("{} holds no receipt", recorded.subject));
            }
            Err(BrokerError::Away(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn late(args: &SendArgs, stored: Stored, receipts: &str) -> anyhow::Error {
    anyhow!(
        "no receipt within {:?}: the request is stored (sequence {}) and is sent as soon as a bridge serves account `{}`; its receipt will be on {receipts}",
        args.timeout,
        stored.sequence,
        args.account
    )
}

fn show(args: &SendArgs, receipt: &Receipt) -> Result<(), Failure> {
    let text = if args.json {
        let json = serde_json::to_vec(receipt).map_err(Failure::failed)?;
        print::one_line(&json)
    } else {
        describe(receipt)
    };
    even_unread(print::line(&text))?;
    match receipt.outcome {
        Outcome::Sent => Ok(()),
        Outcome::Failed | Outcome::Expired | Outcome::Uncertain => Err(Failure::Said),
    }
}

/// The receipt for people.
fn describe(receipt: &Receipt) -> String {
    let mut text = match receipt.outcome {
        Outcome::Sent => "sent".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Expired => "expired: its time was over before it could be sent".to_owned(),
        Outcome::Uncertain => {
            "uncertain: it left, and no answer came; it may be visible, and is not sent again"
                .to_owned()
        }
    };
    let took = receipt.finished_at.since(receipt.requested_at);
    let id = print::plain(receipt.id.as_str());
    text += &format!(" after {} ms (id {id})", took.as_millis());
    if receipt.parts.len() > 1 {
        text += &format!(", in {} messages", receipt.parts.len());
    }
    if !receipt.refused_users.is_empty() {
        text += &format!(
            "\n  not to: {}",
            print::plain(&receipt.refused_users.join(", "))
        );
    }
    let reason = [&receipt.code, &receipt.message].into_iter().flatten();
    let reason = reason
        .map(|part| print::plain(part).into_owned())
        .collect::<Vec<_>>();
    if !reason.is_empty() {
        text += &format!("\n  reason: {}", reason.join(": "));
    }
    if let Some(cure) = &receipt.cure {
        text += &format!("\n  cure: {}", print::plain(cure));
    }
    text
}

fn random_id() -> Result<RequestId, Failure> {
    let letters: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(ID_LETTERS)
        .collect();
    RequestId::parse(&format!("cli-{}-{letters}", Timestamp::now().as_millis()))
        .map_err(Failure::failed)
}
