//! What the robot can do with what was said: recall, read state, reactions (oapi.md, sections 3 and
//! 7), and looking people up (section 10).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Api;
use super::call::Errand;
use super::errors::{self, Call, Lesson};
use super::failure::{ApiError, ErrorClass};
use crate::dingtalk::json::{Members, text};
use crate::message::Priority;
use crate::telemetry::ApiFamily;

/// Most messages of one recall (oapi.md, section 3.1).
const MOST_RECALLED: usize = 20;
/// Readers asked for at once (oapi.md, section 3.4).
const PAGE: u32 = 200;
/// Most pages of readers: more people than a group has.
const MOST_PAGES: u32 = 100;
/// Waits before the tries of a reaction: DingTalk may not know the message yet (oapi.md, section 7).
const REACT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(400),
    Duration::from_millis(1200),
];
/// The same for taking one away.
const UNREACT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(1500),
    Duration::from_millis(5000),
];
/// Deadline of one try of a reaction.
const REACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// DingTalk's id of a reaction with a free text.
const EMOTION_ID: &str = "2659900";
/// Code of the contact API for nobody.
const NOBODY: &str = "60121";

const RECALL: Errand = Errand::new(Call::Recall, ApiFamily::Recall);
const READ: Errand = Errand::new(Call::Query, ApiFamily::Recall);
const EMOTION: Errand = Errand::new(Call::Emotion, ApiFamily::Emotion);
const CONTACT: Errand = Errand::new(Call::Contact, ApiFamily::Contact);

/// The chat that messages were sent to, as recall and read state need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentTo<'a> {
    /// People.
    Users,
    /// A group, by openConversationId.
    Group(&'a str),
}

/// What became of a recall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Keys whose messages are gone.
    pub recalled: Vec<String>,
    /// Keys whose messages stay, and DingTalk's reason.
    pub failed: BTreeMap<String, String>,
}

/// Who read a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadStatus {
    /// `SUCCESS`, `RECALLED` or `PROCESSING`, as DingTalk writes it.
    pub send_status: String,
    /// staffIds of those who read it.
    pub read: Vec<String>,
    /// staffIds of those who did not; DingTalk tells them for 1:1 chats only.
    pub unread: Vec<String>,
}

/// A reaction on a message of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// msgId of the message.
    pub message_id: String,
    /// conversationId of its chat, group or 1:1.
    pub conversation_id: String,
    /// Text of the reaction, such as `🤔思考中`.
    pub text: String,
}

/// Somebody, as the contact API knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// staffId (userid).
    pub staff_id: String,
    /// Whether they are an external contact.
    pub external: bool,
}

/// One page of readers.
#[derive(Debug, Default)]
struct Page {
    status: ReadStatus,
    next: Option<String>,
}

impl Api {
    /// Recalls messages by processQueryKey (or carrierId), at most 20. Repeating it is harmless, after
    /// an ambiguous outcome too.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn recall(&self, sent_to: SentTo<'_>, keys: &[String]) -> Result<Recalled, ApiError> {
        let robot = &self.app()?.robot;
        if keys.is_empty() || keys.len() > MOST_RECALLED {
            return Err(ApiError {
                class: ErrorClass::Permanent,
                code: "recall-keys".to_owned(),
                message: format!("{} messages to recall, 1 to 20 can be", keys.len()),
                cure: Some("recall them in several calls".to_owned()),
            });
        }
        let (path, body) = match sent_to {
            SentTo::Users => (
                // The spelling differs from that of the send (oapi.md, section 3.1).
                "robot/otoMessages/batchRecall",
                json!({ "robotCode": robot.code, "processQueryKeys": keys }),
            ),
            SentTo::Group(id) => (
                "robot/groupMessages/recall",
                json!({ "robotCode": robot.code, "processQueryKeys": keys, "openConversationId": id }),
            ),
        };
        let url = robot.url(path);
        let request = || self.http.client().post(&url).json(&body);
        self.ask(RECALL, &request, &|answer| recalled(answer)).await
    }

    /// Who read the message with this processQueryKey; all pages of it.
    ///
    /// # Errors
    /// By [`super::ErrorClass`]; never ambiguous. A message of just now is not known yet, which
    /// DingTalk does not tell from one of long ago: that is worth a few tries, not endless ones.
    pub async fn read_status(
        &self,
        sent_to: SentTo<'_>,
        key: &str,
    ) -> Result<ReadStatus, ApiError> {
        let id = match sent_to {
            SentTo::Users => return self.read_by_users(key).await,
            SentTo::Group(id) => id,
        };
        let robot = &self.app()?.robot;
        let url = robot.url("robot/groupMessages/query");
        let mut body = json!({
            "robotCode": robot.code,
            "openConversationId": id,
            "processQueryKey": key,
            "maxResults": PAGE,
        });
        let mut whole = ReadStatus::default();
        for _ in 0..MOST_PAGES {
            let request = || self.http.client().post(&url).json(&body);
            let page = self.ask(READ, &request, &|answer| page(answer)).await?;
            whole.send_status = page.status.send_status;
            whole.read.extend(page.status.read);
            match (page.next, &mut body) {
                (Some(next), Value::Object(body)) => {
                    body.insert("nextToken".to_owned(), next.into())
                }
                _ => break,
            };
        }
        whole.read.sort_unstable();
        whole.read.dedup();
        Ok(whole)
    }

    async fn read_by_users(&self, key: &str) -> Result<ReadStatus, ApiError> {
        let robot = &self.app()?.robot;
        let url = robot.url("robot/oToMessages/readStatus");
        let query = [("robotCode", robot.code.as_str()), ("processQueryKey", key)];
        let request = || self.http.client().get(&url).query(&query);
        self.ask(READ, &request, &|answer| read_by(answer)).await
    }

    /// Puts a reaction on a message; one that is there already is no error. Repeating it is harmless,
    /// after an ambiguous outcome too.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn react(&self, reaction: &Reaction) -> Result<(), ApiError> {
        self.emote("robot/emotion/reply", reaction, REACT).await
    }

    /// Takes a reaction away. Repeating it is harmless, after an ambiguous outcome too.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn unreact(&self, reaction: &Reaction) -> Result<(), ApiError> {
        self.emote("robot/emotion/recall", reaction, UNREACT).await
    }

    /// Who has this unionId; nobody is no error. Not billed.
    ///
    /// # Errors
    /// By [`super::ErrorClass`]; never ambiguous.
    pub async fn user_by_union_id(&self, union_id: &str) -> Result<Option<Person>, ApiError> {
        let (app, body) = (self.app()?, json!({ "unionid": union_id }));
        let url = format!("{}/topapi/user/getbyunionid", app.legacy.url);
        app.legacy.token(&app.tokens).await?;
        self.slot(CONTACT.family, Priority::Normal).await;
        loop {
            let shown = app.legacy.token(&app.tokens).await?;
            let token = shown.token.expose();
            let request = self.http.client().post(&url).json(&body);
            let request = request.query(&[("access_token", token)]);
            let refusal = match self
                .attempt(CONTACT, request, &|answer| person(answer))
                .await
            {
                Ok(person) => {
                    app.legacy.accepted(&shown);
                    return Ok(Some(person));
                }
                Err(refusal) if refusal.error.code == NOBODY => return Ok(None),
                Err(refusal) => refusal,
            };
            let again = refusal.lesson == Lesson::Token;
            if !(again && app.legacy.refused(&shown, &app.tokens).await?) {
                return Err(self.cleaned(refusal, &[token]));
            }
        }
    }

    /// Makes a reaction call, and again where DingTalk may only not know the message yet.
    async fn emote(
        &self,
        path: &str,
        reaction: &Reaction,
        waits: [Duration; 3],
    ) -> Result<(), ApiError> {
        let robot = &self.app()?.robot;
        let url = robot.url(path);
        let body = json!({
            "robotCode": robot.code,
            "openMsgId": reaction.message_id,
            "openConversationId": reaction.conversation_id,
            "emotionType": 2,
            "emotionName": reaction.text,
            "textEmotion": {
                "emotionId": EMOTION_ID,
                "emotionName": reaction.text,
                "text": reaction.text,
                "backgroundId": "im_bg_1",
            },
        });
        let request = || {
            let request = self.http.client().post(&url).json(&body);
            request.timeout(REACTION_TIMEOUT)
        };
        let mut last = Err(errors::mismatch());
        for wait in waits {
            tokio::time::sleep(wait).await;
            last = self.ask(EMOTION, &request, &|_| Some(())).await;
            if !last.as_ref().is_err_and(fleeting) {
                break;
            }
        }
        last
    }
}

/// Whether a reaction may only have come too early: a fault inside DingTalk, not a lost call.
fn fleeting(error: &ApiError) -> bool {
    match error.class {
        ErrorClass::Ambiguous => !matches!(error.code.as_str(), "timeout" | "broken"),
        ErrorClass::RetryAfter(_) => error.code == "http-503",
        ErrorClass::Permanent
        | ErrorClass::WebhookGone
        | ErrorClass::Park(_)
        | ErrorClass::Quota(_) => false,
    }
}

/// Some of both, or it was no answer to a recall.
fn recalled(answer: &Members<'_>) -> Option<Recalled> {
    let gone = answer.array("successResult");
    let stays = answer.object("failedResult");
    if gone.is_none() && stays.is_none() {
        return None;
    }
    let gone = gone.unwrap_or_default().into_iter().filter_map(text);
    let stays = stays.unwrap_or_default();
    let reason = |reason| text(reason).unwrap_or_default().into_owned();
    Some(Recalled {
        recalled: gone.map(Cow::into_owned).collect(),
        failed: stays
            .iter()
            .map(|(key, value)| (key.to_owned(), reason(value)))
            .collect(),
    })
}

fn send_status(answer: &Members<'_>) -> Option<String> {
    // The documented sample has a typing error (oapi.md, section 3.3).
    let status = answer.filled("sendStatus")?.to_ascii_uppercase();
    Some(match status.as_str() {
        "SUCESS" => "SUCCESS".to_owned(),
        _ => status,
    })
}

/// The answer about a 1:1 chat.
fn read_by(answer: &Members<'_>) -> Option<ReadStatus> {
    let mut status = ReadStatus {
        send_status: send_status(answer)?,
        ..ReadStatus::default()
    };
    for element in answer.array("messageReadInfoList").unwrap_or_default() {
        let Some(element) = Members::read(element.get()) else {
            continue;
        };
        let read = element.text("readStatus").unwrap_or_default();
        if let Some(user) = element.filled("userId") {
            let list = match read.eq_ignore_ascii_case("READ") {
                true => &mut status.read,
                false => &mut status.unread,
            };
            list.push(user.into_owned());
        }
    }
    Some(status)
}

/// One page of the answer about a group.
fn page(answer: &Members<'_>) -> Option<Page> {
    let read = answer.array("readUserIds").unwrap_or_default();
    let more = answer.boolean("hasMore") == Some(true);
    Some(Page {
        status: ReadStatus {
            send_status: send_status(answer)?,
            read: read
                .into_iter()
                .filter_map(text)
                .map(Cow::into_owned)
                .collect(),
            unread: Vec::new(),
        },
        next: answer
            .filled("nextToken")
            .filter(|_| more)
            .map(Cow::into_owned),
    })
}

fn person(answer: &Members<'_>) -> Option<Person> {
    let result = answer.object("result")?;
    Some(Person {
        staff_id: result.filled("userid")?.into_owned(),
        external: result.integer("contact_type") == Some(1),
    })
}
