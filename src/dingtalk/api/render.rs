//! Content in the forms that DingTalk takes: msgKey and msgParam for the robot API (oapi.md,
//! section 2.4), whole bodies for session webhooks (section 4.2). It sends nothing.

use serde_json::{Map, Value, json};

use super::shipment::ShipmentBody;
use super::split::{Fence, Size, Syntax, split, with_table_borders};
use crate::message::{ActionCard, Content, Layout, Link, Markdown, Mentions};

/// Longest msgParam, in bytes (oapi.md, section 2.2).
const ROBOT_BYTES: usize = 15_000;
/// Longest webhook body, in bytes (oapi.md, section 4.3).
const WEBHOOK_BYTES: usize = 20_000;
/// Longest markdown that clients show well, in characters (oapi.md, section 2.5).
const MARKDOWN_UNITS: usize = 3800;
/// Longest title made from a text, in characters.
const MADE_TITLE: usize = 64;
/// Longest title that is passed on, in characters.
const GIVEN_TITLE: usize = 200;
/// Title of a markdown that has no words.
const NO_TITLE: &str = "Message";
/// Room for the number of a part behind its title.
const NUMBER: &str = " (9999/9999)";
/// Most people that one message mentions (oapi.md, section 4.2).
const MOST_MENTIONS: usize = 50;
/// Most bytes that mentions may take from a message.
const MENTION_BYTES: usize = 8000;

/// Renders a content for the robot API: one message, or several for a text that is too long.
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
            let mut parts = card_parts(card, ROBOT_BYTES, &buttons);
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
        Content::Raw(raw) => vec![robot(&raw.msg_key, &raw.msg_param)],
    }
}

/// Renders a content for a session webhook, with the @ texts and the at list made to agree;
/// `None` for contents that a webhook does not carry (raw msgKeys) and for more mentions than it
/// takes.
///
/// A person is mentioned once, in the first part whose text names them, else in the first part. A
/// link mentions nobody: DingTalk shows no @ in it.
pub fn render_webhook(content: &Content, mention: &Mentions) -> Option<Vec<ShipmentBody>> {
    let reserve = mention_reserve(mention)?;
    let room = WEBHOOK_BYTES.saturating_sub(reserve);
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
            let mut parts = card_parts(card, room, &shell);
            let last = parts.pop().map(|part| Posted::card(part, buttons));
            let leading = parts.into_iter().map(Posted::markdown);
            leading.chain(last).collect()
        }
        Content::Link(link) => {
            let body = json!({ "msgtype": "link", "link": link_param(link) });
            return Some(vec![ShipmentBody::Webhook(body.to_string())]);
        }
        Content::Raw(_) => return None,
    };
    Some(with_mentions(parts, mention))
}

/// One part of a markdown.
#[derive(Debug)]
struct Part {
    title: String,
    text: String,
}

impl Part {
    fn param(&self) -> Value {
        json!({ "title": self.title, "text": self.text })
    }
}

fn plain_parts(text: &str, bytes: usize) -> Vec<String> {
    let limit = Size {
        units: usize::MAX,
        bytes,
    };
    without_blank(split(text, Syntax::Plain, limit), text)
}

/// DingTalk refuses a message of nothing but white space.
fn without_blank(mut parts: Vec<String>, whole: &str) -> Vec<String> {
    parts.retain(|part| !part.trim().is_empty());
    if parts.is_empty() {
        parts.push(whole.to_owned());
    }
    parts
}

/// The parts of a markdown, numbered behind the title when there are several; each with its title
/// and `shell` takes at most `bytes`.
fn titled_parts(markdown: &Markdown, bytes: usize, shell: &str) -> Vec<Part> {
    let title = title(markdown.title.as_deref(), &markdown.text);
    let numbered = Part {
        title: format!("{title}{NUMBER}"),
        text: String::new(),
    };
    let taken = numbered.param().to_string().len() + shell.len();
    let limit = Size {
        units: MARKDOWN_UNITS,
        bytes: bytes.saturating_sub(taken),
    };
    let text = with_table_borders(&markdown.text);
    let parts = without_blank(split(&text, Syntax::Markdown, limit), &text);
    let count = parts.len();
    let titles = (1..).map(|number| match count {
        1 => title.clone(),
        _ => format!("{title} ({number}/{count})"),
    });
    titles
        .zip(parts)
        .map(|(title, text)| Part { title, text })
        .collect()
}

/// The parts of a card's text: the last one carries the buttons.
fn card_parts(card: &ActionCard, bytes: usize, shell: &Map<String, Value>) -> Vec<Part> {
    let markdown = Markdown {
        title: Some(card.title.clone()),
        text: card.text.clone(),
    };
    let shell = Value::Object(shell.clone()).to_string();
    titled_parts(&markdown, bytes, &shell)
}

fn link_param(link: &Link) -> Value {
    json!({
        "title": link.title,
        "text": link.text,
        "messageUrl": link.message_url,
        "picUrl": link.pic_url.as_deref().unwrap_or_default(),
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

/// The given title, else the first line that has words; without control characters and not too long.
fn title(given: Option<&str>, text: &str) -> String {
    let given = given.map(|title| shortened(title, GIVEN_TITLE));
    if let Some(title) = given.filter(|title| !title.is_empty()) {
        return title;
    }
    let lines = text.lines().filter(|line| Fence::opened_by(line).is_none());
    let worded = lines.map(|line| shortened(&without_marks(line), MADE_TITLE));
    let mut worded = worded.filter(|line| !line.is_empty());
    worded.next().unwrap_or_else(|| NO_TITLE.to_owned())
}

fn shortened(text: &str, most: usize) -> String {
    let plain = text.trim().chars();
    let plain: String = plain
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match plain.char_indices().nth(most) {
        Some(_) => plain.chars().take(most - 1).chain(['…']).collect(),
        None => plain,
    }
}

/// A line of markdown as it reads: marks gone, links as their text.
fn without_marks(line: &str) -> String {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || "#>-+*|".contains(c));
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let line = match numbered.strip_prefix(". ") {
        Some(rest) if numbered.len() < line.len() => rest,
        _ => line,
    };
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once("](") else {
            break;
        };
        plain.push_str(before.strip_suffix('!').unwrap_or(before));
        plain.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    for mark in ["**", "__", "~~", "`"] {
        plain = plain.replace(mark, "");
    }
    plain
        .trim_matches(|c: char| c.is_whitespace() || "#|*".contains(c))
        .to_owned()
}

#[cfg(test)]
mod tests;
