//! The robot API's form: msgKey and msgParam (oapi.md, section 2.4).

use serde_json::{Map, Value, json};

use super::parts::{card_parts, link_param, plain_parts, titled_parts};
use crate::dingtalk::api::ShipmentBody;
use crate::message::{ActionCard, Attachment, Content, Layout, MediaKind};

/// Longest msgParam, in bytes (oapi.md, section 2.2).
pub(super) const ROBOT_BYTES: usize = 15_000;

/// Length of audio and video, in milliseconds, when nobody knows it.
const UNKNOWN_LENGTH: u64 = 1000;

/// Renders a content for the robot API: one message, or several for a text that is too long. Media are
/// uploaded before: without a `media_id` there is nothing to render. Nor is there for an action card
/// whose buttons leave no room for its text.
pub fn render_robot(content: &Content) -> Vec<ShipmentBody> {
    let robot = |key: &str, param: &Value| ShipmentBody::Robot {
        msg_key: key.to_owned(),
        msg_param: param.to_string(),
    };
    match content {
        Content::Text(text) => {
            let shape = |content: &str| json!({ "content": content });
            let parts = plain_parts(text, ROBOT_BYTES - shape("").to_string().len());
            let bodies = parts.iter().map(|text| robot("sampleText", &shape(text)));
            bodies.collect()
        }
        Content::Markdown(markdown) => titled_parts(markdown, ROBOT_BYTES, "")
            .into_iter()
            .map(|part| robot("sampleMarkdown", &part.param()))
            .collect(),
        Content::Link(link) => vec![robot("sampleLink", &link_param(link))],
        Content::ActionCard(card) => {
            let (key, buttons) = robot_buttons(card);
            let Some(mut parts) = card_parts(card, ROBOT_BYTES, &buttons) else {
                return Vec::new();
            };
            let last = parts.pop().map(|part| {
                let mut param = buttons;
                param.insert("title".to_owned(), part.title.into());
                param.insert("text".to_owned(), part.text.into());
                robot(key, &Value::Object(param))
            });
            let leading = parts
                .iter()
                .map(|part| robot("sampleMarkdown", &part.param()));
            leading.chain(last).collect()
        }
        Content::Media(kind, attachment) => {
            let message = media(*kind, attachment);
            let message = message.map(|(key, param)| robot(key, &param));
            message.into_iter().collect()
        }
        // A card has calls of its own.
        Content::Card(_) | Content::Stream(_) => Vec::new(),
        Content::Raw(raw) => vec![robot(&raw.msg_key, &raw.msg_param)],
    }
}

/// The template for media at DingTalk and its members; all values are texts, numbers too.
fn media(kind: MediaKind, attachment: &Attachment) -> Option<(&'static str, Value)> {
    let id = attachment.media_id.as_deref()?;
    let cover = attachment.cover.as_ref();
    let cover = cover.and_then(|cover| cover.media_id.as_deref());
    let name = attachment.name.as_deref().filter(|name| !name.is_empty());
    let file = |name: &str| {
        let (_, ending) = name.rsplit_once('.').unwrap_or(("", name));
        let ending = ending.to_ascii_lowercase();
        let param = json!({ "mediaId": id, "fileName": name, "fileType": ending });
        ("sampleFile", param)
    };
    Some(match (kind, cover) {
        (MediaKind::Image, _) => ("sampleImageMsg", json!({ "photoURL": id })),
        (MediaKind::Audio, _) => {
            let length = attachment.duration_ms.unwrap_or(UNKNOWN_LENGTH).max(1);
            let param = json!({ "mediaId": id, "duration": length.to_string() });
            ("sampleAudio", param)
        }
        (MediaKind::Video, Some(cover)) => {
            // Seconds here, begun ones count.
            let length = attachment.duration_ms.unwrap_or(UNKNOWN_LENGTH);
            let length = length.div_ceil(1000).max(1);
            let param = json!({
                "duration": length.to_string(),
                "videoMediaId": id,
                "videoType": "mp4",
                "picMediaId": cover,
            });
            ("sampleVideo", param)
        }
        // DingTalk shows no video without a cover.
        (MediaKind::Video, None) => file(name.unwrap_or("video.mp4")),
        (MediaKind::File, _) => file(name.unwrap_or("file")),
    })
}

/// The template for a card and its button members; their spelling differs by template.
fn robot_buttons(card: &ActionCard) -> (&'static str, Map<String, Value>) {
    let (key, title, url) = match (card.buttons.as_slice(), card.layout) {
        ([], _) => ("sampleMarkdown", "", ""),
        ([_], _) => ("sampleActionCard", "singleTitle", "singleURL"),
        ([_, _], Layout::Horizontal) => ("sampleActionCard6", "buttonTitle", "buttonUrl"),
        ([_, _], Layout::Vertical) => ("sampleActionCard2", "actionTitle", "actionURL"),
        ([_, _, _], _) => ("sampleActionCard3", "actionTitle", "actionURL"),
        ([_, _, _, _], _) => ("sampleActionCard4", "actionTitle", "actionURL"),
        _ => ("sampleActionCard5", "actionTitle", "actionURL"),
    };
    let mut members = Map::new();
    for (number, button) in (1..).zip(&card.buttons) {
        let number = match card.buttons.len() {
            1 => String::new(),
            _ => format!("{number}"),
        };
        members.insert(format!("{title}{number}"), button.title.clone().into());
        members.insert(format!("{url}{number}"), button.url.clone().into());
    }
    (key, members)
}
