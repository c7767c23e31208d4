//! One card: what each call does to it, and what it refuses (oapi.md, sections 6.4 to 6.7).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::change::Change;
use super::record::{
    CardDelivery, CardFrame, CardParams, CardState, CardUpdate, CardView, FrameVerdict,
    UpdateSource,
};
use super::template::CardTemplate;
use crate::message::Timestamp;

/// Characters that one streamed content may have: what users of the API are known to send.
const MAX_CONTENT: usize = 20_000;
/// The variable that moves an AI card between its states.
const FLOW_STATUS: &str = "flowStatus";

/// Why a card did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum CardRefusal {
    /// The request is wrong; the code says how.
    Param(&'static str),
    /// Frames of one card came too close.
    TooFast,
    /// The template has no such variable.
    NoSuchKey,
}

impl CardRefusal {
    pub(in crate::sim) fn code(self) -> &'static str {
        match self {
            Self::Param(code) => code,
            Self::TooFast => "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi",
            Self::NoSuchKey => "unknownError",
        }
    }
}

/// A card as it is created.
pub(in crate::sim) struct Draft {
    pub(in crate::sim) app: Arc<str>,
    pub(in crate::sim) out_track_id: String,
    pub(in crate::sim) template_id: String,
    /// The template; `None` when any is taken, and then every key.
    pub(in crate::sim) template: Option<CardTemplate>,
    pub(in crate::sim) callback_type: String,
    pub(in crate::sim) user_id_type: u64,
    /// Kinds of chat that it is made for.
    pub(in crate::sim) spaces: BTreeSet<&'static str>,
    pub(in crate::sim) params: CardParams,
    pub(in crate::sim) private_data: BTreeMap<String, CardParams>,
}

/// One streaming call.
#[derive(Debug)]
pub(in crate::sim) struct Frame<'a> {
    pub(in crate::sim) guid: &'a str,
    pub(in crate::sim) key: &'a str,
    pub(in crate::sim) content: Option<&'a str>,
    pub(in crate::sim) full: bool,
    pub(in crate::sim) finalize: bool,
    pub(in crate::sim) error: bool,
}

/// Where `flowStatus` and the streamed frames have led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Resting,
    Inputting,
    Finished,
    Failed,
}

impl Flow {
    fn of_status(status: &str) -> Option<Self> {
        match status {
            "1" => Some(Self::Resting),
            "2" | "4" => Some(Self::Inputting),
            "3" => Some(Self::Finished),
            "5" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A card and what decides over its next call.
pub(in crate::sim) struct Card {
    view: CardView,
    template: Option<CardTemplate>,
    spaces: BTreeSet<&'static str>,
    flow: Flow,
    guids: HashSet<String>,
    last_frame: Option<Instant>,
}

impl Card {
    pub(in crate::sim) fn new(draft: Draft) -> Self {
        let foreign = draft.template.as_ref().is_some_and(|one| one.foreign);
        let mut card = Self {
            view: CardView {
                out_track_id: draft.out_track_id,
                app: draft.app.as_ref().to_owned(),
                template: draft.template_id,
                callback_type: draft.callback_type,
                user_id_type: draft.user_id_type,
                state: CardState::Created,
                created_at: Timestamp::now(),
                params: draft.params,
                private_data: draft.private_data,
                deliveries: Vec::new(),
                frames: Vec::new(),
                updates: Vec::new(),
                presses: Vec::new(),
                foreign,
            },
            template: draft.template,
            spaces: draft.spaces,
            flow: Flow::Resting,
            guids: HashSet::new(),
            last_frame: None,
        };
        card.follow_status(card.view.params.get(FLOW_STATUS).cloned().as_deref());
        card
    }

    pub(in crate::sim) fn view(&self) -> &CardView {
        &self.view
    }

    pub(super) fn view_mut(&mut self) -> &mut CardView {
        &mut self.view
    }

    /// Whether it may stand in a chat of this kind.
    pub(in crate::sim) fn is_made_for(&self, space: &str) -> bool {
        self.spaces.contains(space)
    }

    /// May stand in these kinds of chat too.
    pub(in crate::sim) fn add_spaces(&mut self, spaces: BTreeSet<&'static str>) {
        self.spaces.extend(spaces);
    }

    /// Writes an attempt to deliver down.
    pub(in crate::sim) fn deliver(&mut self, delivery: CardDelivery) {
        self.view.deliveries.push(delivery);
        self.settle();
    }

    /// The carrier under which it stands in this chat.
    pub(in crate::sim) fn carrier_in(&self, space_id: &str) -> Option<String> {
        let mut deliveries = self.view.deliveries.iter();
        deliveries.find_map(|one| one.carrier_id.clone().filter(|_| one.space_id == space_id))
    }

    /// Sets variables: the named ones over the others, or instead of them.
    pub(in crate::sim) fn update(&mut self, change: Change, source: UpdateSource) {
        let mut written = CardUpdate {
            at: Timestamp::now(),
            source,
            keys: Vec::new(),
            users: change.private_data.keys().cloned().collect(),
            merged: change.by_key,
            flow_status: None,
        };
        if let Some(params) = change.params {
            written.keys = params.keys().cloned().collect();
            written.flow_status = params.get(FLOW_STATUS).cloned();
            if !change.by_key {
                self.view.params.clear();
            }
            self.view.params.extend(params);
        }
        for (user, params) in change.private_data {
            let own = self.view.private_data.entry(user).or_default();
            if !change.private_by_key {
                own.clear();
            }
            own.extend(params);
        }
        self.follow_status(written.flow_status.as_deref());
        self.view.updates.push(written);
    }

    /// Takes one streamed frame, or says why not, and writes it down either way.
    pub(in crate::sim) fn stream(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        gap: Option<Duration>,
    ) -> Result<(), CardRefusal> {
        let outcome = self.check(frame, now, gap);
        if outcome.is_ok() && !self.guids.contains(frame.guid) {
            self.apply(frame, now);
            self.write_down(frame, FrameVerdict::Accepted);
            return Ok(());
        }
        let verdict = match outcome {
            Ok(()) => FrameVerdict::Repeated,
            Err(refusal) => FrameVerdict::Refused {
                code: refusal.code().to_owned(),
            },
        };
        self.write_down(frame, verdict);
        outcome
    }

    /// Writes down a frame that was refused before the card saw it.
    pub(in crate::sim) fn turn_away(&mut self, frame: &Frame<'_>, code: &str) {
        let code = code.to_owned();
        self.write_down(frame, FrameVerdict::Refused { code });
    }

    fn check(
        &self,
        frame: &Frame<'_>,
        now: Instant,
        gap: Option<Duration>,
    ) -> Result<(), CardRefusal> {
        let since = self.last_frame.map(|last| now.duration_since(last));
        if since.zip(gap).is_some_and(|(since, gap)| since < gap) {
            return Err(CardRefusal::TooFast);
        }
        if frame.guid.is_empty() {
            return Err(CardRefusal::Param("param.stream.guidEmpty"));
        }
        if frame.key.is_empty() {
            return Err(CardRefusal::Param("param.stream.keyEmpty"));
        }
        match frame.content {
            None => return Err(CardRefusal::Param("param.stream.contentEmpty")),
            // The official helpers report a failure with an empty content.
            Some("") if !frame.error => {
                return Err(CardRefusal::Param("param.stream.contentEmpty"));
            }
            Some(content) if content.chars().count() > MAX_CONTENT => {
                return Err(CardRefusal::Param("param.stream.content"));
            }
            Some(_) => {}
        }
        let Some(template) = &self.template else {
            return Ok(());
        };
        let key = template.key(frame.key).ok_or(CardRefusal::NoSuchKey)?;
        if key.markdown && !frame.full {
            return Err(CardRefusal::Param("param.stream.isFull"));
        }
        Ok(())
    }

    fn apply(&mut self, frame: &Frame<'_>, now: Instant) {
        self.guids.insert(frame.guid.to_owned());
        self.last_frame = Some(now);
        let content = frame.content.unwrap_or_default();
        let value = self.view.params.entry(frame.key.to_owned()).or_default();
        match (frame.full, content) {
            (_, "") => {}
            (true, _) => content.clone_into(value),
            (false, _) => value.push_str(content),
        }
        self.flow = match (frame.error, frame.finalize) {
            (true, _) => Flow::Failed,
            (false, true) => Flow::Finished,
            (false, false) => Flow::Inputting,
        };
        self.settle();
    }

    fn write_down(&mut self, frame: &Frame<'_>, verdict: FrameVerdict) {
        let content = frame.content.unwrap_or_default();
        self.view.frames.push(CardFrame {
            at: Timestamp::now(),
            guid: frame.guid.to_owned(),
            key: frame.key.to_owned(),
            chars: content.chars().count(),
            content: content.to_owned(),
            full: frame.full,
            finalize: frame.finalize,
            error: frame.error,
            verdict,
        });
    }

    fn follow_status(&mut self, status: Option<&str>) {
        if let Some(flow) = status.and_then(Flow::of_status) {
            self.flow = flow;
        }
        self.settle();
    }

    fn settle(&mut self) {
        let stands = self.view.chats().next().is_some();
        self.view.state = match self.flow {
            Flow::Resting if stands => CardState::Delivered,
            Flow::Resting => CardState::Created,
            Flow::Inputting => CardState::Inputting,
            Flow::Finished => CardState::Finished,
            Flow::Failed => CardState::Failed,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Option<Duration> = Some(Duration::from_millis(500));

    fn card() -> Card {
        let template = CardTemplate::new("t.schema")
            .with_markdown("body")
            .with_text("note");
        Card::new(Draft {
            app: Arc::from("ding"),
            out_track_id: "c1".to_owned(),
            template_id: template.id.clone(),
            template: Some(template),
            callback_type: "STREAM".to_owned(),
            user_id_type: 1,
            spaces: BTreeSet::from(["IM_GROUP"]),
            params: CardParams::from([("flowStatus".to_owned(), "1".to_owned())]),
            private_data: BTreeMap::new(),
        })
    }

    fn frame<'a>(guid: &'a str, content: &'a str) -> Frame<'a> {
        Frame {
            guid,
            key: "body",
            content: Some(content),
            full: true,
            finalize: false,
            error: false,
        }
    }

    fn params(pairs: &[(&str, &str)]) -> CardParams {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn frames_closer_than_the_gap_are_refused_and_a_refusal_does_not_move_the_gap() {
        let (mut card, start) = (card(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(card.stream(&frame("a", "1"), at(0), GAP), Ok(()));
        let second = frame("b", "2");
        assert_eq!(
            card.stream(&second, at(499), GAP),
            Err(CardRefusal::TooFast)
        );
        assert_eq!(card.stream(&second, at(500), GAP), Ok(()));
        assert_eq!(card.view().params["body"], "2");
        assert_eq!(card.view().frames.len(), 3);
        assert_eq!(card.view().accepted().count(), 2);
    }

    #[test]
    fn a_guid_counts_once() {
        let (mut card, now) = (card(), Instant::now());
        card.stream(&frame("a", "first"), now, None).unwrap();
        assert_eq!(card.stream(&frame("a", "second"), now, None), Ok(()));
        assert_eq!(card.view().params["body"], "first");
        assert_eq!(card.view().frames[1].verdict, FrameVerdict::Repeated);
    }

    #[test]
    fn the_last_frame_closes_and_a_later_one_opens_again() {
        let (mut card, now) = (card(), Instant::now());
        let mut last = frame("a", "done");
        last.finalize = true;
        card.stream(&last, now, None).unwrap();
        assert_eq!(card.view().state, CardState::Finished);
        card.stream(&frame("b", "more"), now, None).unwrap();
        assert_eq!(card.view().state, CardState::Inputting);
        let mut failed = frame("c", "");
        failed.error = true;
        card.stream(&failed, now, None).unwrap();
        assert_eq!(card.view().state, CardState::Failed);
        assert_eq!(card.view().text(), "more");
    }

    #[test]
    fn a_text_variable_can_be_appended_to_and_a_markdown_one_cannot() {
        let (mut card, now) = (card(), Instant::now());
        for (guid, content) in [("a", "one "), ("b", "two")] {
            let mut part = frame(guid, content);
            (part.key, part.full) = ("note", false);
            card.stream(&part, now, None).unwrap();
        }
        assert_eq!(card.view().params["note"], "one two");
        let mut part = frame("c", "three");
        part.full = false;
        let refused = card.stream(&part, now, None);
        assert_eq!(refused, Err(CardRefusal::Param("param.stream.isFull")));
        part.key = "other";
        let refused = card.stream(&part, now, None);
        assert_eq!(refused, Err(CardRefusal::NoSuchKey));
    }

    #[test]
    fn an_update_replaces_everything_unless_it_says_otherwise() {
        let mut card = card();
        let change = |pairs: &[(&str, &str)], by_key| Change {
            params: Some(params(pairs)),
            private_data: BTreeMap::from([("u1".to_owned(), params(pairs))]),
            by_key,
            private_by_key: by_key,
        };
        card.update(change(&[("a", "1"), ("b", "1")], false), UpdateSource::Api);
        assert_eq!(card.view().params, params(&[("a", "1"), ("b", "1")]));
        card.update(change(&[("b", "2")], true), UpdateSource::Api);
        assert_eq!(card.view().params, params(&[("a", "1"), ("b", "2")]));
        assert_eq!(card.view().private_data["u1"], card.view().params);
        card.update(change(&[("flowStatus", "3")], false), UpdateSource::Api);
        assert_eq!(card.view().params, params(&[("flowStatus", "3")]));
        assert_eq!(card.view().private_data["u1"], card.view().params);
        assert_eq!(card.view().state, CardState::Finished);
    }
}
