//! `POST /v1.0/gateway/connections/open`: the address of a connection and its one-time ticket
//! (stream-protocol.md, section 1). Nothing is kept: every connection asks again.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use serde::Serialize;

use super::refusal::{self, Refusal};
use crate::dingtalk::json::Members;
use crate::message::Secret;

/// Path under `dingtalk.api_url`.
const PATH: &str = "/v1.0/gateway/connections/open";
/// Who asks, in the documented shape `name-sdk-lang/version`; another shape can be refused as
/// `ua invalid`.
const USER_AGENT: &str = concat!("nats-dingtalk-sdk-rust/", env!("CARGO_PKG_VERSION"));
/// Largest answer that is read; a proxy's error page may be longer.
const MAX_BODY: usize = 64 * 1024;

/// Messages to the robot.
const BOT_MESSAGES: &str = "/v1.0/im/bot/messages/get";
/// Messages to people that the robot acts for.
const BOT_DELEGATE: &str = "/v1.0/im/bot/messages/delegate";
/// Clicks on cards.
const CARD_ACTIONS: &str = "/v1.0/card/instances/callback";

/// What one account asks for, ready to be asked again and again.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) api_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) events: bool,
    pub(super) delegate: bool,
}

/// Where a connection may be opened, once.
#[derive(Clone)]
pub(super) struct Grant {
    endpoint: String,
    ticket: Secret,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenRequest<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    subscriptions: Vec<Subscription>,
    ua: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_ip: Option<String>,
}

#[derive(Serialize)]
struct Subscription {
    r#type: &'static str,
    topic: &'static str,
}

impl Endpoint {
    /// Asks for a connection.
    pub(super) async fn open(&self, http: &reqwest::Client) -> Result<Grant, Refusal> {
        let answer = http
            .post(format!("{}{PATH}", self.api_url))
            .header(CONTENT_TYPE, "application/json")
            // Without it the answer may be XML (stream-protocol.md, section 1.1).
            .header(ACCEPT, "application/json")
            .body(self.request())
            .send()
            .await;
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(refusal::of_network(&error.without_url())),
        };
        let status = answer.status().as_u16();
        let wait = answer.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = Vec::new();
        while body.len() < MAX_BODY {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(refusal::of_network(&error.without_url())),
            }
        }
        let body = String::from_utf8_lossy(&body);
        self.read(status, wait.map(Duration::from_secs), &body)
    }

    fn read(&self, status: u16, wait: Option<Duration>, body: &str) -> Result<Grant, Refusal> {
        if status == 200
            && let Some(grant) = Grant::read(body)
        {
            return Ok(grant);
        }
        let body = refusal::without(body, &self.client_secret);
        Err(refusal::of_answer(status, wait, &body))
    }

    fn request(&self) -> Vec<u8> {
        let request = OpenRequest {
            client_id: &self.client_id,
            client_secret: self.client_secret.expose(),
            subscriptions: self.subscriptions(),
            ua: USER_AGENT,
            local_ip: local_ip().map(|ip| ip.to_string()),
        };
        // Strings and lists of strings always serialise.
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Only what is served: an event or message pushed here is kept from every other client.
    fn subscriptions(&self) -> Vec<Subscription> {
        let callback = |topic| Subscription {
            r#type: "CALLBACK",
            topic,
        };
        let mut all = Vec::with_capacity(4);
        if self.events {
            all.push(Subscription {
                r#type: "EVENT",
                topic: "*",
            });
        }
        all.push(callback(BOT_MESSAGES));
        all.push(callback(CARD_ACTIONS));
        if self.delegate {
            all.push(callback(BOT_DELEGATE));
        }
        all
    }
}

impl Grant {
    fn read(body: &str) -> Option<Self> {
        let members = Members::read(body.trim_start_matches('\u{feff}'))?;
        let endpoint = members.filled("endpoint")?.into_owned();
        let ticket = members.filled("ticket")?;
        let ticket = match given(&endpoint) {
            Some(given) => Secret::new(percent_decode_str(given).decode_utf8_lossy()),
            None => Secret::new(ticket),
        };
        Some(Self { endpoint, ticket })
    }

    /// The address of the WebSocket. The ticket is in it: not for logs.
    pub(super) fn url(&self) -> Secret {
        let address = without_fragment(&self.endpoint);
        if given(address).is_some() {
            return Secret::new(address);
        }
        let mark = if address.contains('?') { '&' } else { '?' };
        Secret::new(format!(
            "{address}{mark}ticket={}",
            encode(self.ticket.expose())
        ))
    }

    /// The ticket that is in the address, to take it out of what a server repeats.
    pub(super) fn ticket(&self) -> &Secret {
        &self.ticket
    }
}

fn without_fragment(endpoint: &str) -> &str {
    endpoint
        .split_once('#')
        .map_or(endpoint, |(address, _)| address)
}

/// The ticket that an address names by itself, as it stands there.
fn given(endpoint: &str) -> Option<&str> {
    let (_, query) = without_fragment(endpoint).split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("ticket="))
}

/// Percent-encodes everything outside the unreserved characters.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The address that this machine would speak from; nothing is sent. For DingTalk's diagnostics.
fn local_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // A documentation address: it only selects the route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            api_url: "http://127.0.0.1:1".to_owned(),
            client_id: "dingid".to_owned(),
            client_secret: Secret::new("hunter2-secret"),
            events: false,
            delegate: false,
        }
    }

    #[test]
    fn the_request_has_the_documented_form_and_subscribes_to_what_is_served() {
        let request: Value = serde_json::from_slice(&endpoint().request()).unwrap();
        assert_eq!(request["clientId"], "dingid");
        assert_eq!(request["clientSecret"], "hunter2-secret");
        assert_eq!(
            request["subscriptions"],
            json!([
                {"type": "CALLBACK", "topic": "/v1.0/im/bot/messages/get"},
                {"type": "CALLBACK", "topic": "/v1.0/card/instances/callback"},
            ])
        );
        let (name, version) = request["ua"].as_str().unwrap().split_once('/').unwrap();
        assert_eq!(name, "nats-dingtalk-sdk-rust");
        assert_eq!(version, env!("CARGO_PKG_VERSION"));

        let wide = Endpoint {
            events: true,
            delegate: true,
            ..endpoint()
        };
        let request: Value = serde_json::from_slice(&wide.request()).unwrap();
        assert_eq!(
            request["subscriptions"][0],
            json!({"type": "EVENT", "topic": "*"})
        );
        assert_eq!(
            request["subscriptions"][3]["topic"],
            "/v1.0/im/bot/messages/delegate"
        );
    }

    #[test]
    fn the_ticket_is_encoded_into_the_address_with_or_without_a_query() {
        let url = |endpoint: &str, ticket: &str| {
            let body = json!({"endpoint": endpoint, "ticket": ticket}).to_string();
            Grant::read(&body).unwrap().url().expose().to_owned()
        };
        assert_eq!(
            url("wss://h:443/connect", "a-b"),
            "wss://h:443/connect?ticket=a-b"
        );
        assert_eq!(
            url("ws://h/c?x=1", "a b/+"),
            "ws://h/c?x=1&ticket=a%20b%2F%2B"
        );
        assert_eq!(
            url("ws://h/c?ticket=given", "other"),
            "ws://h/c?ticket=given"
        );
        assert_eq!(url("ws://h/c#part", "t"), "ws://h/c?ticket=t");
    }

    #[test]
    fn an_answer_200_that_grants_nothing_is_tried_again() {
        for body in ["", "<xml/>", "{}", r#"{"endpoint":"wss://h"}"#, "[]"] {
            let refusal = endpoint().read(200, None, body).map(|_| ()).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Retry { .. }),
                "{body}: {refusal:?}"
            );
        }
        let granted = r#"{"endpoint":"wss://h","ticket":"t"}"#;
        assert!(endpoint().read(200, None, granted).is_ok());
    }

    #[test]
    fn a_secret_that_the_gateway_repeats_stays_out_of_the_reason() {
        let body = r#"{"code":"authFailed","message":"bad secret hunter2-secret"}"#;
        let refusal = endpoint().read(401, None, body).map(|_| ()).unwrap_err();
        assert!(!refusal.reason().contains("hunter2"), "{refusal:?}");
    }
    #[test]
    fn a_ticket_that_opened_nothing_stands_in_no_reason() {
        for body in [
            r#"{"ticket":"canary-1"}"#,
            r#"{"endpoint":"","ticket":"canary-1"}"#,
            r#"{"data":{"endpoint":"wss://h/c?ticket=canary-1"}}"#,
            r#"{"endpoint":null,"message":"wss://h/c?ticket=canary-1"}"#,
            "<open><ticket>canary-1</ticket></open>",
        ] {
            for status in [200, 201, 302, 400, 500] {
                let refusal = endpoint().read(status, None, body).map(|_| ());
                let refusal = refusal.unwrap_err();
                assert!(!refusal.reason().contains("canary"), "{refusal:?}");
            }
        }
        let body = r#"{"endpoint":"","ticket":"canary-1"}"#;
        let refusal = endpoint().read(200, None, body).map(|_| ()).unwrap_err();
        assert!(refusal.reason().contains("endpoint, ticket"), "{refusal:?}");
    }

    #[test]
    fn a_ticket_that_a_page_repeats_is_masked_in_every_spelling() {
        for (endpoint, ticket) in [
            ("wss://h/c", "canary b/+"),
            ("wss://h/c?ticket=canary%20b%2F%2B", "other"),
        ] {
            let body = json!({"endpoint": endpoint, "ticket": ticket}).to_string();
            let grant = Grant::read(&body).unwrap();
            let url = grant.url();
            for page in [
                "no such ticket canary b/+".to_owned(),
                "no such page canary%20b%2F%2B".to_owned(),
                "no such page /c?ticket=canary%20b%2f%2b".to_owned(),
                format!("<a href=\"{}\">{0}</a>", url.expose()),
                format!("/login?to={}", encode(url.expose())),
            ] {
                let page = refusal::without(&page, grant.ticket());
                let said = refusal::excerpt(&page);
                assert!(!said.contains("canary"), "{said}");
            }
        }
    }
}
