//! The session webhook's form: whole bodies, with mentions (oapi.md, section 4.2).

use serde_json::{Map, Value, json};

use super::parts::{Part, card_parts, link_param, plain_parts, titled_parts};
use crate::dingtalk::api::ShipmentBody;
use crate::dingtalk::api::split::Size;
use crate::message::{ActionCard, Content, Layout, Mentions};

/// Longest webhook body, in bytes (oapi.md, section 4.3).
pub(super) const WEBHOOK_BYTES: usize = 20_000;
/// Room for the idempotency key that posts of a custom robot carry.
const KEY_BYTES: usize = 100;
/// Most people that one message mentions (oapi.md, section 4.2).
const MOST_MENTIONS: usize = 50;
/// Most bytes that mentions may take from a message.
const MENTION_BYTES: usize = 8000;

/// Renders a content for a webhook of either kind, with the @ texts and the at list made to agree;
/// `None` for contents that a webhook does not carry (raw msgKeys), for more mentions than it takes,
/// and for an action card whose buttons and mentions leave no room for its text.
///
/// A person is mentioned once, in the first part whose text names them, else in the first part. A
/// link mentions nobody: DingTalk shows no @ in it.
pub fn render_webhook(content: &Content, mention: &Mentions) -> Option<Vec<ShipmentBody>> {
    let reserve = mention_reserve(mention)?;
    let room = WEBHOOK_BYTES.saturating_sub(reserve + KEY_BYTES);
    let parts: Vec<Posted> = match content {
        Content::Text(text) => {
            let shell = json!({ "msgtype": "text", "text": { "content": "" } });
            let parts = plain_parts(text, room - shell.to_string().len());
            parts.into_iter().map(Posted::text).collect()
        }
        Content::Markdown(markdown) => {
            let shell = json!({ "msgtype": "markdown", "markdown": {} }).to_string();
            let parts = titled_parts(markdown, room, &shell);
            parts.into_iter().map(Posted::markdown).collect()
        }
        Content::ActionCard(card) => {
            let buttons = webhook_buttons(card);
            let mut shell = buttons.clone();
            shell.insert("msgtype".to_owned(), "actionCard".into());
            shell.insert("actionCard".to_owned(), Value::Object(Map::new()));
            let mut parts = card_parts(card, room, &shell)?;
            let last = parts.pop().map(|part| Posted::card(part, buttons));
            let leading = parts.into_iter().map(Posted::markdown);
            leading.chain(last).collect()
        }
        Content::Link(link) => {
            let body = json!({ "msgtype": "link", "link": link_param(link) });
            return Some(vec![ShipmentBody::Webhook(body.to_string())]);
        }
        Content::Media(..) | Content::Card(_) | Content::Stream(_) | Content::Raw(_) => {
            return None;
        }
    };
    Some(with_mentions(parts, mention))
}

fn webhook_buttons(card: &ActionCard) -> Map<String, Value> {
    let mut members = Map::new();
    let orientation = match card.layout {
        Layout::Horizontal if card.buttons.len() == 2 => "1",
        Layout::Horizontal | Layout::Vertical => "0",
    };
    members.insert("btnOrientation".to_owned(), orientation.into());
    match card.buttons.as_slice() {
        [button] => {
            members.insert("singleTitle".to_owned(), button.title.clone().into());
            members.insert("singleURL".to_owned(), button.url.clone().into());
        }
        buttons => {
            let buttons = buttons
                .iter()
                .map(|button| json!({ "title": button.title, "actionURL": button.url }));
            members.insert("btns".to_owned(), buttons.collect());
        }
    }
    members
}

/// One webhook post before its mentions.
#[derive(Debug)]
struct Posted {
    msgtype: &'static str,
    /// Member that holds the text.
    text_key: &'static str,
    /// What stands between the text and the @ texts behind it.
    gap: &'static str,
    text: String,
    rest: Map<String, Value>,
}

impl Posted {
    fn text(text: String) -> Self {
        Self {
            msgtype: "text",
            text_key: "content",
            gap: " ",
            text,
            rest: Map::new(),
        }
    }

    fn markdown(part: Part) -> Self {
        Self {
            msgtype: "markdown",
            ..Self::card(part, Map::new())
        }
    }

    fn card(part: Part, mut rest: Map<String, Value>) -> Self {
        rest.insert("title".to_owned(), part.title.into());
        Self {
            msgtype: "actionCard",
            text_key: "text",
            gap: "\n\n",
            text: part.text,
            rest,
        }
    }

    fn body(mut self, at: Map<String, Value>) -> ShipmentBody {
        self.rest.insert(self.text_key.to_owned(), self.text.into());
        let mut body = Map::new();
        body.insert("msgtype".to_owned(), self.msgtype.into());
        body.insert(self.msgtype.to_owned(), Value::Object(self.rest));
        if !at.is_empty() {
            body.insert("at".to_owned(), Value::Object(at));
        }
        ShipmentBody::Webhook(Value::Object(body).to_string())
    }
}

/// Bytes that mentions take at most; `None` when they are too many for one message.
fn mention_reserve(mention: &Mentions) -> Option<usize> {
    let ids = || mention.users.iter().chain(&mention.mobiles);
    let texts: usize = ids().map(|id| Size::of(id).bytes + 2).sum();
    let lists = at_list(&mention.users, &mention.mobiles, mention.all);
    let reserve = texts + Value::Object(lists).to_string().len() + 16;
    (ids().count() <= MOST_MENTIONS && reserve <= MENTION_BYTES).then_some(reserve)
}

fn at_list<T: AsRef<str>>(users: &[T], mobiles: &[T], all: bool) -> Map<String, Value> {
    let listed = |ids: &[T]| ids.iter().map(|id| Value::from(id.as_ref())).collect();
    let mut at = Map::new();
    if users.is_empty() && mobiles.is_empty() && !all {
        return at;
    }
    at.insert("atUserIds".to_owned(), listed(users));
    at.insert("atMobiles".to_owned(), listed(mobiles));
    at.insert("isAtAll".to_owned(), all.into());
    at
}

/// Gives every part the at list of those whom its text names; a mention without its @ text, or
/// without its entry, would not highlight (oapi.md, section 4.2).
fn with_mentions(mut parts: Vec<Posted>, mention: &Mentions) -> Vec<ShipmentBody> {
    let home = |parts: &[Posted], id: &str| parts.iter().position(|part| names(&part.text, id));
    let mut missing = String::new();
    for id in mention.users.iter().chain(&mention.mobiles) {
        if home(&parts, id).is_none() && !names(&missing, id) {
            missing.push_str(if missing.is_empty() { "@" } else { " @" });
            missing.push_str(id);
        }
    }
    if let (Some(first), false) = (parts.first_mut(), missing.is_empty()) {
        let gap = if first.text.ends_with(char::is_whitespace) && first.gap == " " {
            ""
        } else {
            first.gap
        };
        first.text.push_str(gap);
        first.text.push_str(&missing);
    }
    let listed = |ids: &[String], part: usize| -> Vec<String> {
        let here = ids.iter().filter(|id| home(&parts, id) == Some(part));
        here.cloned().collect()
    };
    let lists: Vec<Map<String, Value>> = (0..parts.len())
        .map(|part| {
            let users = listed(&mention.users, part);
            let mobiles = listed(&mention.mobiles, part);
            at_list(&users, &mobiles, mention.all && part == 0)
        })
        .collect();
    let bodies = parts.into_iter().zip(lists);
    bodies.map(|(part, at)| part.body(at)).collect()
}

/// Whether `text` holds `@id`, and not only the beginning of a longer id.
fn names(text: &str, id: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices('@').any(|(at, _)| {
        let behind = text.get(at + 1..).and_then(|text| text.strip_prefix(id));
        behind.is_some_and(|behind| !behind.starts_with(part))
    })
}
