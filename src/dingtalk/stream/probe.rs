//! One look at DingTalk without connecting: are the credentials taken, is the clock right. Neither
//! call is billed, and the ticket is let go unused.

use std::time::Duration;

use reqwest::header::DATE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::endpoint::Endpoint;
use super::refusal;
use crate::config;
use crate::message::Timestamp;

/// Asks for a connection and does not open it (stream-protocol.md, section 1).
///
/// # Errors
/// Why it was refused, with what to do where that is known.
pub async fn probe(
    http: &reqwest::Client,
    api_url: &str,
    account: &config::Account,
) -> Result<(), String> {
    let endpoint = Endpoint {
        api_url: api_url.to_owned(),
        client_id: account.client_id.clone(),
        client_secret: account.client_secret.clone(),
        events: account.events,
        delegate: account.delegate,
    };
    let opened = endpoint.open(http).await;
    opened
        .map(|_| ())
        .map_err(|refusal| refusal.reason().to_owned())
}

/// How far this machine's clock is from the server's, by the `Date` of any answer; `None` when there is
/// no such header. The header has whole seconds, so less than that says nothing.
///
/// # Errors
/// Why there was no answer.
pub async fn clock_skew(http: &reqwest::Client, api_url: &str) -> Result<Option<Duration>, String> {
    let before = Timestamp::now();
    let answer = http.get(format!("{api_url}/")).send().await;
    let answer = answer.map_err(|error| {
        let refusal = refusal::of_network(&error.without_url());
        refusal.reason().to_owned()
    })?;
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    let Some(at) = date.and_then(read_date) else {
        return Ok(None);
    };
    Ok(Some(distance(at, before, Timestamp::now())))
}

/// An HTTP date; `GMT` is how it writes UTC.
fn read_date(date: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822).ok()?;
    let millis = at.unix_timestamp().checked_mul(1000)?;
    Some(Timestamp::from_millis(millis))
}

/// How far the second that begins at `at` lies outside of the time that the call took.
fn distance(at: Timestamp, before: Timestamp, after: Timestamp) -> Duration {
    let end = at.after(Duration::from_secs(1));
    before.since(end).max(at.since(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        let at = read_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(at.to_string(), "2026-11-20T10:00:00.000Z");
        assert_eq!(read_date("yesterday"), None);
    }

    #[test]
    fn only_what_the_call_and_the_whole_second_cannot_explain_is_skew() {
        let at = Timestamp::from_millis;
        let skew = |server, before, after| distance(at(server), at(before), at(after)).as_millis();
        assert_eq!(skew(10_000, 10_900, 10_950), 0);
        assert_eq!(skew(10_000, 9_500, 10_200), 0);
        assert_eq!(skew(10_000, 13_000, 13_100), 2_000);
        assert_eq!(skew(10_000, 7_000, 7_500), 2_500);
    }
}
