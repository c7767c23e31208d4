//! A mention that has to notify: plain messages of the Open API mention nobody, so in a group whose
//! session webhook is gone a text that mentions people goes out as a card (oapi.md, section 2.6).

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::message::{
    Brake, CardCreate, CardRequest, Kind, OutboundAddress, Request, Target, Timestamp,
};

use super::desk::{LetGo, Patience};
use super::journey::Sender;
use super::receipt::Matter;
use super::webhooks;

/// Parameter that tells an AI card how far it is (oapi.md, section 6.6).
const FLOW_STATUS: &str = "flowStatus";
/// It is finished: nothing spins.
const FINISHED: &str = "3";

impl Sender {
    /// The request on the path that notifies: as it stands, or as a card when only a card does.
    pub(super) async fn notifying(
        &self,
        matter: &Matter<'_>,
        request: Request,
        stop: &CancellationToken,
    ) -> Result<Request, LetGo> {
        let Some(text) = self.wants_card(&request) else {
            return Ok(request);
        };
        let address = self.desk.subjects.parse_outbound(&matter.published.subject);
        let Ok(OutboundAddress::Canonical { kind, id, .. }) = address else {
            return Ok(request);
        };
        if kind != Kind::Group {
            return Ok(request);
        }
        let patience = Patience::Until(stop);
        let step = || self.desk.webhooks.of_chat(matter.account, kind, &id);
        let session = self.desk.insist(patience, "session lookup", step).await?;
        let now = Timestamp::now();
        if session.is_some_and(|session| webhooks::usable(&session, now)) {
            return Ok(request);
        }
        let params = [
            (self.settings.card_key.clone(), text.clone()),
            (FLOW_STATUS.to_owned(), FINISHED.to_owned()),
        ];
        let params: BTreeMap<_, _> = params
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let create = CardCreate {
            params,
            fallback: Some(text),
            ..CardCreate::default()
        };
        Ok(Request {
            text: None,
            markdown: None,
            // A card answers nobody; its chat is the subject's.
            to: request.to.filter(|to| !matches!(to, Target::ReplyTo(_))),
            card: Some(CardRequest {
                create: Some(create),
                ..CardRequest::default()
            }),
            ..request
        })
    }

    /// What the request says, when it mentions people whom a card could mention as well.
    fn wants_card(&self, request: &Request) -> Option<String> {
        self.settings.card_template.as_ref()?;
        let mention = request.mention.as_ref()?;
        let by_card = !mention.is_empty() && mention.mobiles.is_empty();
        if !by_card || request.via.is_some() {
            return None;
        }
        // What it is not allowed to mention is refused as it stands.
        if mention.all && !self.settings.mention_all {
            return None;
        }
        if self.standings.brake(&self.account) >= Brake::NoCards {
            return None;
        }
        match (&request.text, &request.markdown) {
            (Some(text), None) => Some(text.clone()),
            (None, Some(markdown)) => Some(markdown.text.clone()),
            _ => None,
        }
        .filter(|text| !text.trim().is_empty() && request.content().is_ok())
    }
}
