//! One function for each way in: bytes from outside, what must hold whatever they are. It uses the
//! public interface of the bridge alone.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use nats_dingtalk::broker::{Headers, acknowledgement, echo};
use nats_dingtalk::dingtalk::api::{ShipmentBody, meanings, render_robot, render_webhook};
use nats_dingtalk::dingtalk::payload;
use nats_dingtalk::dingtalk::stream::Frame;
use nats_dingtalk::message::{
    ActionButton, ActionCard, Content, Inbound, Layout, Markdown, Mentions, Subjects, Timestamp,
    decode_token, encode_token, header,
};
use nats_dingtalk::outbound::examine;
use nats_dingtalk::spool::Spool;
use serde::de::IgnoredAny;

/// Longest msgParam of the robot API and longest webhook body, in bytes (oapi.md, sections 2.2, 4.3).
const ROBOT_BYTES: usize = 15_000;
const WEBHOOK_BYTES: usize = 20_000;

fn subjects() -> Subjects {
    Subjects::new("dingtalk").expect("a legal prefix")
}

/// A text frame: read, normalised, written; what is written is JSON and holds no session webhook.
pub fn frame(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let frame = Frame::decode(text.to_owned().into());
    let reading = payload::read(&frame);
    let id = reading.dedup_id.as_deref().unwrap_or("none");
    let view = Inbound {
        id: id.into(),
        account: "sales".into(),
        kind: reading.kind,
        chat: reading.chat.clone(),
        sender: reading.sender.clone(),
        mentioned: reading.mentioned,
        mentions: reading.mentions.clone(),
        message: reading.message.clone(),
        card: reading.card.clone(),
        topic: reading.topic.clone(),
        notice: reading.notice.clone(),
        sent_at: reading.sent_at,
        received_at: Timestamp::from_millis(0),
        reply: None,
        raw: None,
    };
    let mut body = Vec::new();
    view.write(&reading.raw, &mut body)
        .expect("a view is written");
    let body = String::from_utf8(body).expect("a body is UTF-8");
    serde_json::from_str::<IgnoredAny>(&body).expect("a body is JSON");
    serde_json::from_str::<Inbound<'_>>(&body).expect("a body is read again");
    // DingTalk writes headers and ids; no person and no form reaches them.
    let ids = [
        Some(frame.topic.as_str()),
        frame.message_id.as_deref(),
        frame.event_type.as_deref(),
        frame.event_id.as_deref(),
        reading.dedup_id.as_deref(),
        reading.chat.as_ref().map(|chat| chat.id.as_ref()),
        Some(reading.chat_key.as_ref()),
    ];
    let told = ids
        .into_iter()
        .flatten()
        .any(|id| id.contains("sendBySession"));
    assert!(told || !body.contains("sendBySession?session="), "{body}");
}

/// Any text as an id, and as a subject.
pub fn subject(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let token = encode_token(&text);
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>');
    assert!(!token.is_empty() && token.bytes().all(legal), "{token}");
    assert!(!token.starts_with('$'), "{token}");
    assert_eq!(decode_token(&token).expect("a token is decoded"), text);
    // Whatever stands in a subject, two ids are two tokens.
    if let Ok(id) = decode_token(&text) {
        assert_eq!(decode_token(&encode_token(&id)).expect("a token"), id);
    }
    let _ = subjects().parse_outbound(&text);
    let _ = subjects().parse_outbound(&format!("dingtalk.outbound.{text}"));
    let canonical = format!("dingtalk.outbound.sales.user.{token}");
    subjects()
        .parse_outbound(&canonical)
        .expect("an encoded id makes a canonical subject");
}

/// A request on a subject of any form, as JSON, text or markdown: taken, or refused in words.
pub fn request(input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else {
        return;
    };
    let media = match choice & 3 {
        0 => None,
        1 => Some("text/plain"),
        2 => Some("text/markdown"),
        _ => Some("application/json"),
    };
    let headers = media
        .map(|media| (header::CONTENT_TYPE.into(), media.to_owned()))
        .into_iter()
        .collect();
    let subject = match (choice >> 2) & 3 {
        0 => "dingtalk.outbound.sales.user.manager1",
        1 => "dingtalk.outbound.sales.group.cid6KeB+/oA==",
        2 => "dingtalk.outbound",
        _ => "dingtalk.outbound.sales",
    };
    match examine(&subjects(), subject, &headers, payload) {
        Ok(content) => rendered(&content),
        Err(words) => assert!(!words.is_empty()),
    }
}

/// An answer of DingTalk, or of what stands in its place, with any status.
pub fn answer(input: &[u8]) {
    let Some((status, body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let status = 100 + u16::from_be_bytes(*status) % 500;
    let body = String::from_utf8_lossy(body);
    for error in meanings(status, &body, Timestamp::from_millis(1_795_168_815_250)) {
        assert!(!error.code.is_empty(), "{error:?}");
        assert!(error.code.len() + error.message.len() < 4096, "{error:?}");
    }
}

/// Text as every content that is cut into parts.
pub fn markdown(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    if text.trim().is_empty() {
        // Refused before it is rendered.
        return;
    }
    let title = text.chars().take(40).collect::<String>();
    rendered(&Content::Text(text.clone()));
    rendered(&Content::Markdown(Markdown {
        title: None,
        text: text.clone(),
    }));
    rendered(&Content::ActionCard(ActionCard {
        title: title.clone(),
        text,
        buttons: vec![ActionButton {
            title,
            url: "https://example.com/".to_owned(),
        }],
        layout: Layout::Vertical,
    }));
}

fn rendered(content: &Content) {
    let divided = matches!(content, Content::Text(_) | Content::Markdown(_));
    for body in render_robot(content) {
        let ShipmentBody::Robot { msg_param, .. } = body else {
            panic!("a body of another path");
        };
        serde_json::from_str::<IgnoredAny>(&msg_param).expect("msgParam is JSON");
        assert!(
            !divided || msg_param.len() <= ROBOT_BYTES,
            "{}",
            msg_param.len()
        );
    }
    for body in render_webhook(content, &Mentions::default()).unwrap_or_default() {
        let ShipmentBody::Webhook(body) = body else {
            panic!("a body of another path");
        };
        serde_json::from_str::<IgnoredAny>(&body).expect("a body is JSON");
        assert!(!divided || body.len() <= WEBHOOK_BYTES, "{}", body.len());
    }
}

/// Headers as `name\0value\0` pairs come back as they went in, or are refused; none brings another with it. And
/// any bytes as the broker's answer to a publish.
pub fn wire(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split('\0');
    let mut headers = Headers::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        headers.push((name.to_owned().into(), value.to_owned()));
    }
    if let Ok(mut came) = echo(&headers) {
        let mut went = headers.clone();
        for pair in [&mut came, &mut went] {
            pair.sort();
        }
        assert_eq!(came, went);
        for (name, value) in &came {
            assert!(!name.contains(['\r', '\n', ':', ' ']), "{name:?}");
            assert!(!value.contains(['\r', '\n']), "{value:?}");
        }
    }
    if let Some((status, payload)) = input.split_first_chunk::<2>() {
        let status = Some(u16::from_be_bytes(*status)).filter(|status| *status > 0);
        if let Err(error) = acknowledgement(status, Bytes::copy_from_slice(payload)) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A spool file that was damaged: a cut at the first two bytes of the input, then a byte changed for
/// every five (position, mask). It opens with what it still holds or is refused in words.
pub fn spool(input: &[u8]) {
    let mut file = sound_spool().to_vec();
    let Some((cut, changes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes(*cut)) * 64;
    if cut > 0 {
        file.truncate(cut);
    }
    for change in changes.chunks_exact(5).take(64) {
        let [a, b, c, d, mask] = change else { continue };
        let at = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(0);
        if let Some(length) = file.len().checked_sub(1) {
            // The first pages hold all that redb believes.
            let at = if at & 1 == 0 { at / 2 % 4096 } else { at };
            if let Some(byte) = file.get_mut(at % (length + 1)) {
                *byte ^= mask;
            }
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("spool.redb"), &file).expect("a file");
    used(dir.path());
}

/// Opens a spool and does with it what the bridge does; every step may fail, in words.
fn used(dir: &Path) {
    let Ok(spool) = Spool::open(dir, 1 << 20) else {
        return;
    };
    waited(async {
        let mut after = 0;
        // At most as many reads as a sound file has records.
        for _ in 0..64 {
            match spool.read(after, 16).await {
                Ok(records) => match records.last() {
                    Some((last, _)) if *last > after => after = *last,
                    _ => break,
                },
                Err(_) => break,
            }
        }
        let _ = spool.append(vec![Bytes::from_static(b"one more")]).await;
        let _ = spool.remove_through(after).await;
    });
}

fn waited<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// The file of a spool with some records in it.
fn sound_spool() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(dir.path(), 1 << 20).expect("a new spool");
        waited(async {
            for group in 0..8_u8 {
                let records = (0..4).map(|at| Bytes::from(vec![at; 40 * usize::from(group) + 1]));
                spool.append(records.collect()).await.expect("room");
            }
            spool.remove_through(5).await.expect("a removal");
        });
        drop(spool);
        std::fs::read(dir.path().join("spool.redb")).expect("its file")
    })
}
