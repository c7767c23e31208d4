//! One media item to fetch, and how a message names it. It fetches nothing.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::config::Media as Rule;
use crate::message::{AccountName, Inbound, Media, MediaKind, MessageBody, Secret};

/// One media item to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inbound) struct Errand {
    pub(super) account: AccountName,
    /// Id of the inbound message.
    pub(super) message: String,
    /// Key in the object store.
    pub(super) object: String,
    pub(super) source: Source,
    pub(super) kind: MediaKind,
    /// What DingTalk calls it.
    pub(super) name: Option<String>,
    /// What DingTalk says it is.
    pub(super) mime: Option<String>,
}

/// Where the bytes are. Whoever has a code or an address may have the bytes, so neither is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Behind a download code.
    Code(Secret),
    /// At an address.
    Url(Secret),
}

/// The near end of what is to be fetched: hands over without waiting.
#[derive(Debug, Clone)]
pub(in crate::inbound) struct Errands {
    queue: mpsc::Sender<Errand>,
    /// Notified when something was left out, so that it is looked for in the stream.
    missed: Arc<Notify>,
}

impl Errands {
    pub(super) fn new(queue: mpsc::Sender<Errand>, missed: Arc<Notify>) -> Self {
        Self { queue, missed }
    }

    /// Hands over what a message that is stored now announced. What finds no room is found again in
    /// the stream.
    pub(in crate::inbound) fn send(&self, errands: Vec<Errand>) {
        for errand in errands {
            if self.queue.try_send(errand).is_err() {
                self.missed.notify_one();
                return;
            }
        }
    }
}

/// Names the object of every item that will be fetched, or takes away what it could be fetched with,
/// by the rule of the account. What is quoted is counted on.
pub(in crate::inbound) fn assign(
    message: &mut MessageBody<'_>,
    rule: Rule,
    account: &AccountName,
    id: &str,
) {
    let quoted = message.quoted.iter_mut();
    let items = message
        .media
        .iter_mut()
        .chain(quoted.flat_map(|quoted| quoted.media.iter_mut()));
    for (at, item) in items.enumerate() {
        match rule {
            Rule::Fetch if source(item).is_some() => {
                item.object = Some(format!("{account}/{id}/{}", at + 1).into());
            }
            Rule::Fetch | Rule::Link => {}
            Rule::Off => (item.download_code, item.url) = (None, None),
        }
    }
}

/// What a message announces that it will be fetched.
pub(in crate::inbound) fn announced(view: &Inbound<'_>, account: &AccountName) -> Vec<Errand> {
    let Some(message) = &view.message else {
        return Vec::new();
    };
    let quoted = message.quoted.iter().flat_map(|quoted| &quoted.media);
    let errand = |item: &Media<'_>| {
        Some(Errand {
            account: account.clone(),
            message: view.id.clone().into_owned(),
            object: item.object.clone()?.into_owned(),
            source: source(item)?,
            kind: item.kind,
            name: item.name.clone().map(Into::into),
            mime: item.mime.clone().map(Into::into),
        })
    };
    message
        .media
        .iter()
        .chain(quoted)
        .filter_map(errand)
        .collect()
}

fn source(item: &Media<'_>) -> Option<Source> {
    let code = item.download_code.as_deref();
    let code = code.map(|code| Source::Code(Secret::new(code)));
    let url = || Some(Source::Url(Secret::new(item.url.as_deref()?)));
    code.or_else(url)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;

    fn view() -> Inbound<'static> {
        let text = json!({
            "id": "ding:msg==", "account": "sales", "kind": "user",
            "received_at": "2026-11-20T10:00:00.301Z",
            "message": {
                "type": "richText", "text": "see", "media": [
                    {"kind": "image", "download_code": "c1"},
                    {"kind": "file", "name": "a.pdf", "size": 7},
                    {"kind": "image", "url": "https://static.dingtalk.com/a.png"},
                ],
                "quoted": {"text": "", "media": [{"kind": "file", "name": "q.zip", "download_code": "c4"}]},
            },
        });
        serde_json::from_str(Box::leak(text.to_string().into_boxed_str())).unwrap()
    }

    fn under(rule: Rule) -> (Inbound<'static>, Vec<Errand>) {
        let account = AccountName::parse("sales").unwrap();
        let mut view = view();
        let id = view.id.clone();
        assign(view.message.as_mut().unwrap(), rule, &account, &id);
        let errands = announced(&view, &account);
        (view, errands)
    }

    #[test]
    fn every_item_that_can_be_fetched_is_named_by_its_place_in_the_message() {
        let (view, errands) = under(Rule::Fetch);
        let objects: Vec<&str> = errands.iter().map(|each| each.object.as_str()).collect();
        assert_eq!(
            objects,
            [
                "sales/ding:msg==/1",
                "sales/ding:msg==/3",
                "sales/ding:msg==/4"
            ]
        );
        let media = &view.message.as_ref().unwrap().media;
        assert_eq!(media[0].download_code.as_deref(), Some("c1"));
        // A file sent through the API has neither code nor address.
        assert_eq!(media[1].object, None);
        assert_eq!(errands[2].name.as_deref(), Some("q.zip"));
        assert!(!format!("{errands:?}").contains("c4"));
    }

    #[test]
    fn what_finds_no_room_is_looked_for_and_never_waited_for() {
        let (_, errands) = under(Rule::Fetch);
        let (queue, mut taken) = mpsc::channel(2);
        let missed = Arc::new(Notify::new());
        let near = Errands::new(queue, Arc::clone(&missed));
        near.send(errands.clone());
        assert_eq!(taken.try_recv().as_ref(), Ok(&errands[0]));
        assert_eq!(taken.try_recv().as_ref(), Ok(&errands[1]));
        assert!(taken.try_recv().is_err());
        assert!(missed.notified().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_announced_where_media_is_only_linked_or_left_out() {
        let (linked, errands) = under(Rule::Link);
        assert!(errands.is_empty());
        let media = &linked.message.unwrap().media;
        assert_eq!(
            (media[0].download_code.as_deref(), &media[0].object),
            (Some("c1"), &None)
        );
        let (off, errands) = under(Rule::Off);
        assert!(errands.is_empty());
        let message = off.message.unwrap();
        let quoted = message.quoted.unwrap();
        for item in message.media.iter().chain(&quoted.media) {
            assert!(item.download_code.is_none() && item.url.is_none() && item.object.is_none());
        }
        assert_eq!(quoted.media[0].name.as_deref(), Some("q.zip"));
    }
}
