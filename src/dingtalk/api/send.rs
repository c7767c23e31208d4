//! The robot's sends to people and groups: the request, and what an acceptance says
//! (oapi.md, sections 2.1 and 2.2).

use std::borrow::Cow;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::http::Http;
use super::shipment::Accepted;
use crate::dingtalk::json::{Members, text};
use crate::message::Secret;

/// Header that carries the access token.
const TOKEN_HEADER: &str = "x-acs-dingtalk-access-token";

/// Whom the robot writes to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Receiver<'a> {
    /// People, by staffId.
    Users(&'a [String]),
    /// A group, by openConversationId.
    Group(&'a str),
}

/// The robot of one account, as DingTalk addresses it.
#[derive(Debug)]
pub(super) struct Robot {
    /// Base URL of the v1.0 API.
    pub(super) api_url: String,
    /// Code of the robot.
    pub(super) code: String,
}

impl Robot {
    /// The send of one message; `msg_param` is JSON text, which DingTalk takes as a string.
    pub(super) fn send(
        &self,
        http: &Http,
        receiver: Receiver<'_>,
        msg_key: &str,
        msg_param: &str,
    ) -> RequestBuilder {
        let (path, to, value): (_, _, Value) = match receiver {
            Receiver::Users(users) => (
                "oToMessages/batchSend",
                "userIds",
                users.iter().map(String::as_str).collect(),
            ),
            Receiver::Group(id) => ("groupMessages/send", "openConversationId", id.into()),
        };
        let body = json!({
            "robotCode": self.code,
            "msgKey": msg_key,
            "msgParam": msg_param,
            to: value,
        });
        let url = self.url(&format!("robot/{path}"));
        http.client().post(url).json(&body)
    }

    /// Address of a path of the v1.0 API.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/v1.0/{path}", self.api_url)
    }
}

/// Adds the access token.
pub(super) fn authorised(request: RequestBuilder, token: &Secret) -> RequestBuilder {
    request.header(TOKEN_HEADER, token.expose())
}

/// What an accepted send says about its receivers: HTTP 200 may hide refusals of some or all.
pub(super) fn accepted(answer: &Members<'_>) -> Accepted {
    let listed = |name: &str| -> Vec<String> {
        let users = answer.array(name).unwrap_or_default();
        let users = users.into_iter().filter_map(text);
        users.map(Cow::into_owned).collect()
    };
    let mut refused_users = listed("invalidStaffIdList");
    refused_users.extend(listed("filteredStaffIdList"));
    Accepted {
        process_query_key: answer.filled("processQueryKey").map(Cow::into_owned),
        refused_users,
        throttled_users: listed("flowControlledStaffIdList"),
    }
}
