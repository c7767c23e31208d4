//! The short texts of a message beside what it says (names, titles, types, ids of people), without session
//! webhooks. Ids that address a chat or a message stay exact: nobody but DingTalk writes them.

use std::borrow::Cow;

use super::{Reading, redact};
use crate::message::{Media, Mention, Sender};

/// Takes session webhooks out of the short texts of a reading.
pub(super) fn scrub(reading: &mut Reading<'_>) {
    sender(reading.sender.as_mut());
    for mention in &mut reading.mentions {
        of_mention(mention);
    }
    if let Some(chat) = &mut reading.chat {
        text(chat.title.as_mut());
    }
    if let Some(notice) = &mut reading.notice {
        text(Some(&mut notice.code));
        text(notice.message.as_mut());
    }
    if let Some(message) = &mut reading.message {
        text(Some(&mut message.message_type));
        media(&mut message.media);
        if let Some(quoted) = &mut message.quoted {
            text(quoted.id.as_mut());
            text(quoted.message_type.as_mut());
            sender(quoted.sender.as_mut());
            media(&mut quoted.media);
        }
    }
    if let Some(card) = &mut reading.card {
        text(card.space_type.as_mut());
        text(card.space_id.as_mut());
    }
}

fn sender(sender: Option<&mut Sender<'_>>) {
    let Some(sender) = sender else { return };
    for field in [
        &mut sender.staff_id,
        &mut sender.id,
        &mut sender.union_id,
        &mut sender.nick,
        &mut sender.corp_id,
    ] {
        text(field.as_mut());
    }
}

fn of_mention(mention: &mut Mention<'_>) {
    for field in [
        &mut mention.staff_id,
        &mut mention.id,
        &mut mention.union_id,
        &mut mention.mobile,
        &mut mention.name,
    ] {
        text(field.as_mut());
    }
}

fn media(all: &mut [Media<'_>]) {
    for item in all {
        for field in [
            &mut item.name,
            &mut item.mime,
            &mut item.download_code,
            &mut item.url,
        ] {
            text(field.as_mut());
        }
    }
}

fn text(field: Option<&mut Cow<'_, str>>) {
    if let Some(field) = field
        && let Cow::Owned(kept) = redact::scrub(field)
    {
        *field = Cow::Owned(kept);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::dingtalk::payload;
    use crate::dingtalk::stream::Frame;

    #[test]
    fn a_webhook_in_a_name_title_or_type_does_not_reach_the_view() {
        let url = "https://oapi.dingtalk.com/robot/sendBySession?session=CANARY";
        let data = json!({
            "msgId": "m1", "conversationId": "cid1", "conversationType": "2", "conversationTitle": url,
            "senderNick": format!("me {url}"), "senderStaffId": url, "senderCorpId": url, "msgtype": "file",
            "atUsers": [{"staffId": url, "dingtalkId": url}],
            "content": {"fileName": url, "downloadCode": url},
            "text": {"repliedMsg": {"msgId": url, "senderId": url, "msgType": url, "content": {"text": url}}},
        });
        let frame = json!({
            "type": "CALLBACK", "headers": {"topic": "/v1.0/im/bot/messages/get", "messageId": "f1"},
            "data": data.to_string(),
        });
        let frame = Frame::decode(frame.to_string().into());
        let reading = payload::read(&frame);
        let sender = reading.sender.as_ref().unwrap();
        assert_eq!(sender.nick.as_deref(), Some("me "));
        let shown = format!("{reading:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
