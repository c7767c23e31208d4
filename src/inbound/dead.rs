//! A dead letter of the inbound side as a message. It does not know why something was given up.

use crate::broker::{Headers, Outgoing};
use crate::message::{DeadLetter, Direction, Subjects, header};

/// What CloudEvents consumers validate the body against.
const SCHEMA: &str = "urn:nats-dingtalk:schema:dead-letter:1";

/// The message that carries `letter`, under the headers of what was given up.
pub(super) fn outgoing(subjects: &Subjects, letter: &DeadLetter, mut headers: Headers) -> Outgoing {
    for (name, value) in [
        (header::CE_DATASCHEMA, SCHEMA),
        (header::DEAD_REASON, letter.reason.as_str()),
    ] {
        headers.push((name.into(), value.to_owned()));
    }
    headers.push((header::DEAD_DETAIL.into(), letter.detail.clone()));
    Outgoing {
        subject: subjects.dead(Direction::Inbound, &letter.account),
        headers,
        payload: serde_json::to_vec(letter).unwrap_or_default().into(),
    }
}
