//! The members of a bot message, found in one pass: this is on the way from socket to
//! acknowledgement, and some forty searches through some twenty members cost more than parsing them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dingtalk::json::{self, Members};

/// One member, unread; absent when missing or `null`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot<'a>(pub(super) Option<&'a RawValue>);

impl<'a> Slot<'a> {
    /// Text that is not empty.
    pub(super) fn filled(self) -> Option<Cow<'a, str>> {
        json::text(self.0?).filter(|text| !text.is_empty())
    }

    /// An integer in any notation.
    pub(super) fn integer(self) -> Option<i64> {
        json::integer(self.0?)
    }

    /// A boolean in any notation.
    pub(super) fn boolean(self) -> Option<bool> {
        json::boolean(self.0?)
    }

    /// The elements of an array.
    pub(super) fn array(self) -> Option<Vec<&'a RawValue>> {
        json::elements(self.0?.get())
    }

    /// The members of an object.
    pub(super) fn object(self) -> Option<Members<'a>> {
        let value = self.0?.get();
        value.starts_with('{').then(|| Members::read(value))?
    }
}

/// The members that a bot message is read from, under DingTalk's names in all their spellings.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) conversation_id: Slot<'a>,
    pub(super) conversation_type: Slot<'a>,
    pub(super) conversation_title: Slot<'a>,
    pub(super) scene_group_code: Slot<'a>,
    pub(super) is_in_at_list: Slot<'a>,
    pub(super) at_users: Slot<'a>,
    pub(super) at: Slot<'a>,
    pub(super) chatbot_user_id: Slot<'a>,
    pub(super) sender_staff_id: Slot<'a>,
    pub(super) sender_id: Slot<'a>,
    pub(super) sender_union_id: Slot<'a>,
    pub(super) sender_nick: Slot<'a>,
    pub(super) sender_corp_id: Slot<'a>,
    pub(super) is_admin: Slot<'a>,
    pub(super) msg_id: Slot<'a>,
    pub(super) message_type: Slot<'a>,
    pub(super) text: Slot<'a>,
    pub(super) content: Slot<'a>,
    pub(super) create_at: Slot<'a>,
    pub(super) webhook: Slot<'a>,
    pub(super) webhook_expires: Slot<'a>,
    pub(super) error_code: Slot<'a>,
    pub(super) error_message: Slot<'a>,
    /// Any of the members that tell of a quoted message.
    pub(super) quote: Slot<'a>,
}

impl<'a> Body<'a> {
    /// Sorts the members of a message.
    pub(super) fn sort(members: &Members<'a>) -> Self {
        let mut body = Self::default();
        for (name, value) in members.iter() {
            if let Some(slot) = body.slot(name)
                && value.get() != "null"
            {
                *slot = Slot(Some(value));
            }
        }
        body
    }

    fn slot(&mut self, name: &str) -> Option<&mut Slot<'a>> {
        Some(match name {
            "conversationId" => &mut self.conversation_id,
            "conversationType" => &mut self.conversation_type,
            "conversationTitle" => &mut self.conversation_title,
            "sceneGroupCode" => &mut self.scene_group_code,
            "isInAtList" => &mut self.is_in_at_list,
            "atUsers" => &mut self.at_users,
            "at" => &mut self.at,
            "chatbotUserId" => &mut self.chatbot_user_id,
            "senderStaffId" => &mut self.sender_staff_id,
            "senderId" => &mut self.sender_id,
            "senderUnionId" => &mut self.sender_union_id,
            "senderNick" => &mut self.sender_nick,
            "senderCorpId" => &mut self.sender_corp_id,
            "isAdmin" => &mut self.is_admin,
            "msgId" => &mut self.msg_id,
            "msgtype" | "msgType" => &mut self.message_type,
            "text" => &mut self.text,
            "content" => &mut self.content,
            // The documentation writes `createA` (stream-protocol.md, section 3).
            "createAt" | "createA" => &mut self.create_at,
            "sessionWebhook" => &mut self.webhook,
            "sessionWebhookExpiredTime" => &mut self.webhook_expires,
            "errCode" | "errorCode" | "errcode" => &mut self.error_code,
            "errMsg" | "errorMessage" | "errmsg" => &mut self.error_message,
            name if is_quote(name) => &mut self.quote,
            _ => return None,
        })
    }
}

/// Whether a member of this name, at the top or beside the content, tells of a quoted message.
pub(super) fn is_quote(name: &str) -> bool {
    matches!(
        name,
        "repliedMsg"
            | "quoteMessage"
            | "quoteContent"
            | "originalMsgId"
            | "originalProcessQueryKey"
    )
}
