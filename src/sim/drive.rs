//! What a test or a person makes happen: messages, events, card buttons, raw frames, redeliveries.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::attachment::Carried;
use super::bot::{
    CardPress, Message, PressPlace, Scene, bot_body, card_body, conversation, new_msg_id,
};
use super::gateway::{Aim, BOT_TOPIC, CARD_TOPIC, Envelope, Out, Payload, RetryTable, raw_text};
use super::state::{Shared, WebhookSession, uuid};
use super::{Sim, SimError};

/// A frame of any type and topic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// The app that gets it.
    pub app: String,
    /// `type`.
    #[serde(rename = "type")]
    pub frame_type: String,
    /// `headers.topic`.
    pub topic: String,
    /// `data`: the text that becomes the JSON string.
    pub data: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The connection; absent: one at random among those that subscribed.
    pub link: Option<u64>,
}

impl Push {
    /// A frame for a random subscribed connection of `app`.
    pub fn new(
        app: impl Into<String>,
        frame_type: impl Into<String>,
        topic: impl Into<String>,
        data: impl Into<String>,
    ) -> Self {
        Self {
            app: app.into(),
            frame_type: frame_type.into(),
            topic: topic.into(),
            data: data.into(),
            ..Self::default()
        }
    }

    /// Goes to this connection, whatever it subscribed to.
    #[must_use]
    pub fn on(mut self, link: u64) -> Self {
        self.link = Some(link);
        self
    }

    /// Carries one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn aim(&self) -> Aim {
        self.link.map_or(Aim::Any, Aim::Link)
    }
}

impl Shared {
    pub(super) async fn push_envelope(&self, push: &Push) -> Result<u64, SimError> {
        let app = self.known(&push.app)?;
        let envelope = Envelope::new(
            app,
            &push.frame_type,
            &push.topic,
            &push.headers,
            &push.data,
        );
        self.push(Payload::Envelope(Arc::new(envelope)), 0, push.aim())
            .await
    }

    /// `data` of a bot message, with a session webhook of its own.
    pub(super) fn bot_data(&self, app: &Arc<str>, message: &Message, msg_id: &str) -> String {
        let (webhook, webhook_until) = self.new_session(app, message);
        let robot_code = self
            .world()
            .apps
            .get(app)
            .map(|app| app.robot_code.clone())
            .unwrap_or_default();
        let now = self.now_millis();
        let carried = Carried::new(message, now, |attachment| {
            let expires = Instant::now() + self.options.download_code_life;
            let mut world = self.world();
            world.media.add_code(app, attachment.content(), expires)
        });
        let scene = Scene {
            app,
            robot_code: &robot_code,
            corp_id: &self.corp_id,
            webhook: &webhook,
            webhook_until,
            now,
            carried,
        };
        bot_body(message, msg_id, &scene).to_string()
    }

    /// Somebody writes; the message has its own session webhook.
    pub(super) async fn say(
        &self,
        app: &str,
        message: &Message,
        aim: Aim,
    ) -> Result<String, SimError> {
        if let Some(why) = message.impossible() {
            return Err(SimError::Impossible(why));
        }
        let app = self.known(app)?;
        let msg_id = message.msg_id.clone().unwrap_or_else(new_msg_id);
        let data = self.bot_data(&app, message, &msg_id);
        let envelope = Envelope::new(Arc::clone(&app), "CALLBACK", BOT_TOPIC, &[], &data);
        let pushed = self
            .push(Payload::Envelope(Arc::new(envelope)), 0, aim)
            .await;
        if pushed.is_err() {
            self.world().lost += 1;
            self.notify();
        }
        pushed.map(|_| msg_id)
    }

    pub(super) async fn emit_event(
        &self,
        app: &str,
        event_type: &str,
        data: &Value,
    ) -> Result<String, SimError> {
        let app = self.known(app)?;
        let event_id = uuid().replace('-', "");
        let app_id = self
            .world()
            .apps
            .get(&app)
            .map(|app| app.app_id.clone())
            .unwrap_or_default();
        let headers = [
            ("eventType", event_type.to_owned()),
            ("eventId", event_id.clone()),
            ("eventBornTime", (self.now_millis() - 120).to_string()),
            ("eventCorpId", self.corp_id.clone()),
            ("eventUnifiedAppId", app_id),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let envelope = Envelope::new(Arc::clone(&app), "EVENT", "*", &headers, &data.to_string());
        let payload = Payload::Envelope(Arc::new(envelope));
        match self.push(payload.clone(), 0, Aim::Any).await {
            Ok(_) => {}
            // An event that found nobody is tried again by the table.
            Err(SimError::NoLink(_)) => self.nobody_there(payload, 0),
            Err(error) => return Err(error),
        }
        Ok(event_id)
    }

    pub(super) async fn press_card(&self, app: &str, press: &CardPress) -> Result<u64, SimError> {
        let app = self.known(app)?;
        let place = self.press_place(&app, press)?;
        let data = card_body(press, &place, &self.corp_id).to_string();
        let envelope = Envelope::new(Arc::clone(&app), "CALLBACK", CARD_TOPIC, &[], &data);
        let prepared = self.prepare(Payload::Envelope(Arc::new(envelope)), 0, Aim::Any)?;
        self.world().deck.pressed(&app, prepared.seq, press);
        // An ended link loses the frame, as a dead socket does.
        let _ = prepared.out.send(Out::Bytes(prepared.bytes)).await;
        self.notify();
        Ok(prepared.seq)
    }

    /// Where a press happens; a card that the simulator does not know is taken as it is named.
    fn press_place(&self, app: &str, press: &CardPress) -> Result<PressPlace, SimError> {
        let world = self.world();
        let (space_id, user_id_type) = match world.deck.view(&press.out_track_id) {
            None => (press.space_id.clone(), 1),
            Some(card) if card.calls_back(app) => (card.space_of_press(press), card.user_id_type),
            Some(_) => return Err(SimError::SilentCard(press.out_track_id.clone())),
        };
        Ok(PressPlace {
            space_id,
            user_id_type,
        })
    }

    /// The same payload again in a new frame.
    pub(super) async fn push_again(&self, business_id: &str) -> Result<u64, SimError> {
        let (payload, attempt) = {
            let world = self.world();
            let seq = world.ledger.pushes_of(business_id).last().copied();
            let entry = seq.and_then(|seq| world.ledger.entry(seq));
            let payload = entry.and_then(|entry| Some((entry.payload.clone()?, entry.attempt)));
            payload.ok_or_else(|| SimError::Unknown(business_id.to_owned()))?
        };
        self.push(payload, attempt + 1, Aim::Any).await
    }

    /// Registers a session webhook for a message and returns its URL and its end in milliseconds.
    pub(super) fn new_session(&self, app: &Arc<str>, message: &Message) -> (String, i64) {
        let session = uuid().replace('-', "");
        let life = self.options.webhook_life;
        let registered = WebhookSession {
            app: Arc::clone(app),
            chat: conversation(message, app),
            expires: Instant::now() + life,
        };
        self.world()
            .add_session(session.clone(), registered, self.options.keep);
        let until = self.now_millis() + i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let url = format!("{}/robot/sendBySession?session={session}", self.api_url);
        (url, until)
    }

    pub(super) fn known(&self, app: &str) -> Result<Arc<str>, SimError> {
        self.world()
            .apps
            .get(app)
            .map(|app| Arc::clone(&app.client_id))
            .ok_or_else(|| SimError::NoSuchApp(app.to_owned()))
    }
}

impl Sim {
    /// Somebody writes to the bot of `app`; returns the new `msgId`.
    ///
    /// # Errors
    /// When the app is not known, or has no connection: then the message is lost, as in life.
    pub async fn say(&self, app: &str, message: Message) -> Result<String, SimError> {
        self.shared.say(app, &message, Aim::Any).await
    }

    /// As [`Self::say`], but on this connection.
    ///
    /// # Errors
    /// When the app or the connection is not known.
    pub async fn say_on(&self, link: u64, app: &str, message: Message) -> Result<String, SimError> {
        self.shared.say(app, &message, Aim::Link(link)).await
    }

    /// One message that mentions several bots reaches each of them with the same `msgId`.
    ///
    /// # Errors
    /// When one of the apps is not known or has no connection.
    pub async fn say_to_bots(
        &self,
        apps: &[&str],
        mut message: Message,
    ) -> Result<String, SimError> {
        let msg_id = message.msg_id.get_or_insert_with(new_msg_id).clone();
        for app in apps {
            self.shared.say(app, &message, Aim::Any).await?;
        }
        Ok(msg_id)
    }

    /// Something happens in the organisation; returns the `eventId`. Without a connection the
    /// event is tried again by the table.
    ///
    /// # Errors
    /// When the app is not known.
    pub async fn emit_event(
        &self,
        app: &str,
        event_type: &str,
        data: Value,
    ) -> Result<String, SimError> {
        self.shared.emit_event(app, event_type, &data).await
    }

    /// Somebody presses a button; returns the number of the frame.
    ///
    /// # Errors
    /// When the app is not known, has no connection that subscribed to card actions, or the card
    /// does not call back.
    pub async fn press_card_button(&self, app: &str, press: CardPress) -> Result<u64, SimError> {
        self.shared.press_card(app, &press).await
    }

    /// Pushes a frame of any type and topic; returns its number.
    ///
    /// # Errors
    /// When the app is not known or no connection may get it.
    pub async fn push(&self, push: Push) -> Result<u64, SimError> {
        self.shared.push_envelope(&push).await
    }

    /// Pushes many frames one after the other without waiting for acks.
    ///
    /// # Errors
    /// At the first frame that cannot be pushed.
    pub async fn push_many(&self, pushes: Vec<Push>) -> Result<Vec<u64>, SimError> {
        let mut numbers = Vec::with_capacity(pushes.len());
        for push in pushes {
            numbers.push(self.shared.push_envelope(&push).await?);
        }
        Ok(numbers)
    }

    /// Writes this text as one frame, on `link` or on a random live connection of `app`.
    ///
    /// # Errors
    /// When there is no such connection.
    pub async fn push_text(
        &self,
        app: &str,
        link: Option<u64>,
        text: &str,
    ) -> Result<u64, SimError> {
        let aim = link.map_or(Aim::Any, Aim::Link);
        raw_text(&self.shared, app, aim, text).await
    }

    /// Delivers a message or event again at once: the same data in a new frame.
    ///
    /// # Errors
    /// When nothing with this id was pushed, or no connection is up.
    pub async fn redeliver(&self, business_id: &str) -> Result<u64, SimError> {
        self.shared.push_again(business_id).await
    }

    /// Pushes one message at the same time on two connections of `app`; returns its `msgId`.
    ///
    /// # Errors
    /// When there are not two connections that take bot messages.
    pub async fn duplicate_on_two_sockets(
        &self,
        app: &str,
        message: Message,
    ) -> Result<String, SimError> {
        let links = self.live_links(app);
        let [first, second, ..] = links.as_slice() else {
            return Err(SimError::NoLink(app.to_owned()));
        };
        let msg_id = self.shared.say(app, &message, Aim::Link(*first)).await?;
        let payload = {
            let world = self.shared.world();
            let seq = world.ledger.pushes_of(&msg_id).last().copied();
            seq.and_then(|seq| world.ledger.entry(seq)?.payload.clone())
        };
        let payload = payload.ok_or_else(|| SimError::Unknown(msg_id.clone()))?;
        debug_assert_eq!(payload.retry(), RetryTable::Bot);
        self.shared.push(payload, 0, Aim::Link(*second)).await?;
        Ok(msg_id)
    }
}
