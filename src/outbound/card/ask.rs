//! What a request asks of a card: which one, where, and what. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::resolve::{self, Audience, Job, Refusal};
use super::super::settings::Settings;
use super::names::{OWN, derived};
use super::record::Ending;
use crate::message::{
    AccountName, CardCreate, CardEnd, CardRequest, CardStep, CardStream, CardUpdate, Content,
    DeadReason, Kind, MAX_OUT_TRACK_ID, Markdown, Mentions, OutboundAddress, Request, RequestId,
    StreamPiece, Timestamp, Via,
};

/// A chat that a card may stand in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::outbound) struct Chat {
    /// Whether it is a group.
    group: bool,
    /// openConversationId or staffId.
    pub(super) id: String,
}

impl Chat {
    /// A group.
    pub(super) fn group(id: &str) -> Self {
        Self {
            group: true,
            id: id.to_owned(),
        }
    }

    fn user(id: &str) -> Self {
        Self {
            group: false,
            id: id.to_owned(),
        }
    }

    /// Kind of the chat's subject.
    pub(super) fn kind(&self) -> Kind {
        if self.group { Kind::Group } else { Kind::User }
    }
}

/// A change of the streamed text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::outbound) enum Text {
    /// None.
    #[default]
    Same,
    /// More at the end.
    Append(String),
    /// Another text in its place.
    Whole(String),
}

/// What one request streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::outbound) struct Feed {
    /// Change of the text.
    pub(super) text: Text,
    /// Variable, when it is named.
    pub(super) key: Option<String>,
    /// Parameters to change with it.
    pub(super) params: BTreeMap<String, Value>,
    /// Whether the stream ends, and how.
    pub(super) ending: Option<Ending>,
    /// Whether it opens a card where there is none: the short form.
    pub(super) opens: bool,
}

/// What a request does.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::outbound) enum Step {
    /// Creates a card and shows it.
    Create(CardCreate),
    /// Changes parameters.
    Update(CardUpdate),
    /// Streams, or ends the stream.
    Feed(Feed),
}

/// A request that concerns a card, checked.
#[derive(Debug, Clone)]
pub(in crate::outbound) struct Ask {
    /// outTrackId.
    pub(super) track: String,
    /// Where a card may be put; `None` on a card's own subject without a chat.
    pub(super) chat: Option<Chat>,
    /// Whether the chat is one that no card reaches.
    pub(super) outsider: bool,
    /// What is asked.
    pub(super) step: Step,
    /// Whom a new card mentions.
    pub(super) mention: Mentions,
    /// When it is no longer worth doing.
    pub(super) expires_at: Option<Timestamp>,
    /// The request that stands in its place when there is no card: everything but the text.
    pub(super) plain: Request,
}

impl Ask {
    /// What `request` asks of a card; `None` when it asks for something else.
    pub(in crate::outbound) fn of(
        address: &OutboundAddress,
        (request, id): (&Request, &RequestId),
        settings: &Settings,
    ) -> Option<Result<Self, Refusal>> {
        let content = match request.content() {
            Ok(Content::Card(card)) => Ok(card),
            Ok(Content::Stream(piece)) => Err(piece),
            Ok(
                Content::Text(_)
                | Content::Markdown(_)
                | Content::Link(_)
                | Content::ActionCard(_)
                | Content::Media(..)
                | Content::Raw(_),
            )
            | Err(_) => return None,
        };
        let OutboundAddress::Canonical {
            account,
            kind,
            id: name,
        } = address
        else {
            return None;
        };
        let place = match kind {
            Kind::Card => Place::on_card((account, name), request, settings),
            Kind::Group | Kind::User | Kind::Event | Kind::Other => {
                Place::in_chat(address, request, settings)
            }
        };
        Some(place.and_then(|place| match content {
            Ok(card) => place.step(account, &card, (request, id)),
            Err(piece) => place.piece(account, piece, request),
        }))
    }

    /// Whether it ends the stream.
    pub(super) fn ends(&self) -> bool {
        match &self.step {
            Step::Feed(feed) => feed.ending.is_some(),
            Step::Create(_) | Step::Update(_) => false,
        }
    }

    /// The request for a plain message with `text` in its place.
    pub(super) fn in_words(&self, text: String) -> Request {
        in_words(&self.plain, text)
    }
}

/// The request that sends `text` as markdown and is `request` in all else.
pub(super) fn in_words(request: &Request, text: String) -> Request {
    Request {
        markdown: Some(Markdown { title: None, text }),
        ..request.clone()
    }
}

/// Where a request stands.
struct Place {
    track: Option<String>,
    chat: Option<Chat>,
    outsider: bool,
    plain: Request,
}

impl Place {
    /// On a card's own subject; a new card is put where `to` says.
    fn on_card(
        (account, track): (&AccountName, &str),
        request: &Request,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        if track.is_empty() || track.chars().count() > MAX_OUT_TRACK_ID {
            return Err(Refusal::new(
                DeadReason::Target,
                "the card's id in the subject (outTrackId) has 1 to 64 characters",
            ));
        }
        let mut plain = words_only(request);
        plain.to = None;
        let mut place = Self {
            track: Some(track.to_owned()),
            chat: None,
            outsider: false,
            plain,
        };
        match &request.to {
            None => resolve::same_account(account, request)?,
            Some(to) => {
                let Some((kind, id)) = to.address() else {
                    return Err(Refusal::new(
                        DeadReason::Target,
                        "a card on its own subject is put into the group or the 1:1 chat that `to` names; for a reply or a session publish to the chat's subject",
                    ));
                };
                let address = OutboundAddress::Canonical {
                    account: account.clone(),
                    kind,
                    id: id.into_owned(),
                };
                place.settle(&address, settings)?;
            }
        }
        Ok(place)
    }

    /// On the subject of a chat.
    fn in_chat(
        address: &OutboundAddress,
        request: &Request,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        let mut place = Self {
            track: None,
            chat: None,
            outsider: false,
            plain: words_only(request),
        };
        place.settle(address, settings)?;
        Ok(place)
    }

    fn settle(&mut self, address: &OutboundAddress, settings: &Settings) -> Result<(), Refusal> {
        if settings.custom_robot.is_some() {
            return Err(Refusal::new(
                DeadReason::Malformed,
                "a custom robot shows no cards; send text, markdown, link or action_card",
            ));
        }
        // What a message in its place would be refused for, the card is refused for too.
        let job: Job = resolve::check(address, &in_words(&self.plain, OWN.to_owned()), settings)?;
        let chat = match &job.audience {
            Audience::Group(id) => Chat::group(id),
            Audience::Users(users) => match users.as_slice() {
                [user] => Chat::user(user),
                _ => {
                    return Err(Refusal::new(
                        DeadReason::Target,
                        "a card stands in one chat; publish one request for each user",
                    ));
                }
            },
            Audience::Outsider | Audience::OwnGroup => {
                self.outsider = true;
                Chat::user(&job.chat)
            }
        };
        self.chat = Some(chat);
        Ok(())
    }

    fn step(
        self,
        account: &AccountName,
        card: &CardRequest,
        (request, id): (&Request, &RequestId),
    ) -> Result<Ask, Refusal> {
        let step = card.step()?;
        if let (Some(track), Some(named)) = (&self.track, &card.id)
            && track != named
        {
            return Err(Refusal::new(
                DeadReason::Mismatch,
                format!("the payload names card `{named}`, the subject `{track}`; leave `id` out"),
            ));
        }
        let creates = matches!(step, CardStep::Create(_));
        let named = self.track.clone().or_else(|| card.id.clone());
        let track = match named {
            Some(track) => track,
            None if creates => derived(&["create", account.as_str(), id.as_str()]),
            None => {
                return Err(Refusal::new(
                    DeadReason::Malformed,
                    "name the card: `id` is the out_track_id of the receipt that created it",
                ));
            }
        };
        if creates && self.chat.is_none() {
            return Err(Refusal::new(
                DeadReason::Target,
                "`create` on a card's own subject needs `to`: the group or user whose chat it is put into",
            ));
        }
        let step = match step {
            CardStep::Create(create) => Step::Create(create),
            CardStep::Update(update) => Step::Update(update),
            CardStep::Stream(stream) => Step::Feed(streamed(stream)),
            CardStep::Finish(end) => Step::Feed(ended(end, Ending::Finished)),
            CardStep::Fail(end) => Step::Feed(ended(end, Ending::Failed)),
        };
        Ok(self.ask(track, step, request))
    }

    fn piece(
        self,
        account: &AccountName,
        piece: StreamPiece,
        request: &Request,
    ) -> Result<Ask, Refusal> {
        let Some(chat) = self.chat.as_ref().filter(|_| self.track.is_none()) else {
            return Err(Refusal::new(
                DeadReason::Target,
                "a `stream` is named within its chat; publish its pieces to the chat's subject, or use `card` here",
            ));
        };
        let names = [
            "stream",
            account.as_str(),
            chat.kind().as_str(),
            &chat.id,
            &piece.id,
        ];
        let track = derived(&names);
        let feed = Feed {
            text: Text::Append(piece.append),
            ending: piece.done.then_some(Ending::Finished),
            opens: true,
            ..Feed::default()
        };
        Ok(self.ask(track, Step::Feed(feed), request))
    }

    fn ask(self, track: String, step: Step, request: &Request) -> Ask {
        Ask {
            track,
            chat: self.chat,
            outsider: self.outsider,
            step,
            mention: request.mention.clone().unwrap_or_default(),
            expires_at: request.expires_at,
            plain: self.plain,
        }
    }
}

fn streamed(stream: CardStream) -> Feed {
    let append = stream.append.map(Text::Append);
    Feed {
        text: append
            .or_else(|| stream.text.map(Text::Whole))
            .unwrap_or_default(),
        key: stream.key,
        ..Feed::default()
    }
}

fn ended(end: CardEnd, how: Ending) -> Feed {
    Feed {
        text: end.text.map(Text::Whole).unwrap_or_default(),
        params: end.params,
        ending: Some(how),
        ..Feed::default()
    }
}

/// The request without its card.
fn words_only(request: &Request) -> Request {
    Request {
        card: None,
        stream: None,
        append: None,
        done: None,
        via: request.via.filter(|via| *via != Via::Card),
        ..request.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::{Subjects, param_strings};

    fn ask(subject: &str, payload: &Value) -> Result<Ask, Refusal> {
        let subjects = Subjects::new("dingtalk").unwrap();
        let address = subjects.parse_outbound(&format!("dingtalk.outbound.sales.{subject}"));
        let request = Request::parse(payload.to_string().as_bytes()).unwrap();
        let id = RequestId::parse("r1").unwrap();
        Ask::of(&address.unwrap(), (&request, &id), &Settings::lenient()).unwrap()
    }

    fn refused(subject: &str, payload: &Value) -> DeadReason {
        ask(subject, payload).unwrap_err().reason
    }

    #[test]
    fn a_stream_has_one_card_for_each_chat_and_name() {
        let piece = |name: &str| json!({"stream": name, "append": "a"});
        let first = ask("user.u1", &piece("s")).unwrap();
        assert_eq!(ask("user.u1", &piece("s")).unwrap().track, first.track);
        assert!(first.track.chars().count() <= MAX_OUT_TRACK_ID);
        assert!(!first.ends() && first.chat == Some(Chat::user("u1")));
        for other in [
            ask("user.u2", &piece("s")).unwrap(),
            ask("group.u1", &piece("s")).unwrap(),
            ask("user.u1", &piece("t")).unwrap(),
        ] {
            assert_ne!(other.track, first.track);
        }
        let last = ask("user.u1", &json!({"stream": "s", "done": true})).unwrap();
        assert!(last.ends() && last.track == first.track);
    }

    #[test]
    fn a_card_is_named_by_its_subject_by_its_id_or_by_the_request_that_creates_it() {
        let create = json!({"card": {"create": {}}, "to": "user:u1"});
        assert_eq!(ask("card.t1", &create).unwrap().track, "t1");
        let named = json!({"card": {"id": "t2", "update": {"params": {"a": 1}}}});
        assert_eq!(ask("user.u1", &named).unwrap().track, "t2");
        let derived = ask("user.u1", &json!({"card": {"create": {}}})).unwrap();
        assert!(derived.track.starts_with(OWN) && derived.track.len() <= MAX_OUT_TRACK_ID);
        assert_eq!(refused("card.t1", &named), DeadReason::Mismatch);
    }

    #[test]
    fn what_names_no_card_or_no_chat_is_refused_with_the_cure() {
        for (subject, payload, reason) in [
            (
                "user.u1",
                json!({"card": {"finish": {}}}),
                DeadReason::Malformed,
            ),
            (
                "card.t1",
                json!({"card": {"create": {}}}),
                DeadReason::Target,
            ),
            (
                "card.t1",
                json!({"card": {"create": {}}, "to": {"reply_to": "d:m"}}),
                DeadReason::Target,
            ),
            (
                "card.t1",
                json!({"stream": "s", "append": "a"}),
                DeadReason::Target,
            ),
            (
                "user.u1%2Cu2",
                json!({"stream": "s", "append": "a"}),
                DeadReason::Target,
            ),
            (
                "user.u1",
                json!({"stream": "s", "append": "a", "account": "ops"}),
                DeadReason::Mismatch,
            ),
            (
                "card.t1",
                json!({"card": {"finish": {}}, "account": "ops"}),
                DeadReason::Mismatch,
            ),
        ] {
            assert_eq!(refused(subject, &payload), reason, "{payload}");
        }
    }

    #[test]
    fn an_outsider_has_a_chat_that_no_card_reaches() {
        let piece = json!({"stream": "s", "append": "a"});
        assert!(ask("user.cid6KeBBLoveMJOGXo==", &piece).unwrap().outsider);
    }

    #[test]
    fn what_stands_in_its_place_is_the_same_request_in_words() {
        let payload = json!({"id": "x", "via": "card", "stream": "s", "append": "a",
            "mention": {"users": ["u2"]}});
        let plain = ask("user.u1", &payload).unwrap().in_words("all".into());
        assert_eq!(
            serde_json::to_value(&plain).unwrap(),
            json!({"id": "x", "markdown": {"text": "all"}, "mention": {"users": ["u2"], "all": false}})
        );
    }

    #[test]
    fn parameters_are_strings_and_all_else_is_json_text() {
        let params = [("a", json!("x")), ("b", json!([1, true])), ("c", json!(2))];
        let params = params.map(|(name, value)| (name.to_owned(), value));
        let strings = param_strings(&params.into_iter().collect());
        assert_eq!(strings["a"], "x");
        assert_eq!(
            (strings["b"].as_str(), strings["c"].as_str()),
            ("[1,true]", "2")
        );
    }
}
