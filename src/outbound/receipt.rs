//! Building receipts and dead letters, and the messages that carry them. Pure.

use bytes::Bytes;
use serde_json::Value;

use crate::broker::{Headers, Outgoing};
use crate::message::{
    AccountName, DeadLetter, DeadReason, Direction, Outcome, Receipt, RequestId, Subjects,
    Timestamp, header,
};

use super::ledger::{Done, Progress, Publication};
use super::resolve::{Refusal, header_value};

/// Account of a receipt whose request names none that can be told.
pub(super) const NOBODY: &str = "_";
/// Longest text in a header, in characters: headers are limited as a whole.
const HEADER_TEXT: usize = 512;

/// A request as it was published, whoever brings it: consumer, mover or sweep.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// Subject.
    pub(super) subject: String,
    /// Headers.
    pub(super) headers: Headers,
    /// Body.
    pub(super) payload: Bytes,
    /// Sequence and time in the stream.
    pub(super) publication: Publication,
}

impl Published {
    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        self.payload.len() + self.subject.len() + headers
    }

    /// When it was asked for first: a moved request carries the time of its bare original.
    pub(super) fn requested_at(&self) -> Timestamp {
        header_value(&self.headers, header::SOURCE_TIME)
            .and_then(|at| Timestamp::parse(at).ok())
            .unwrap_or(self.publication.at)
    }
}

/// Whom a receipt is about.
#[derive(Debug, Clone)]
pub(super) struct Matter<'a> {
    /// Account.
    pub(super) account: &'a AccountName,
    /// Idempotency key.
    pub(super) id: &'a RequestId,
    /// The request.
    pub(super) published: &'a Published,
    /// Canonical subject; absent when the target could not be told.
    pub(super) subject: Option<&'a str>,
}

/// Why a receipt is not `sent`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cause {
    /// DingTalk's code, or the bridge's.
    pub(super) code: String,
    /// In words.
    pub(super) message: String,
    /// What cures it.
    pub(super) cure: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// Outcome.
    pub(super) outcome: Outcome,
    /// How far it came.
    pub(super) progress: Progress,
    /// Users of a list who were never asked, or put off until it was too late.
    pub(super) unsent_users: Vec<String>,
    /// Why it is not `sent`.
    pub(super) cause: Option<Cause>,
}

impl Matter<'_> {
    /// The end of a request that was never sent.
    pub(super) fn refused(&self, refusal: &Refusal, progress: Progress) -> Done {
        let cause = Cause {
            code: refusal.reason.as_str().to_owned(),
            message: refusal.detail.clone(),
            cure: None,
        };
        let mut done = self.ended(Ended {
            outcome: Outcome::Failed,
            progress,
            unsent_users: Vec::new(),
            cause: Some(cause),
        });
        done.dead = Some(refusal.reason);
        done
    }

    /// The end of a request.
    pub(super) fn ended(&self, end: Ended) -> Done {
        let Ended {
            outcome,
            progress,
            unsent_users,
            cause,
        } = end;
        let mut parts = progress.parts_done;
        let first_key = parts.iter().find_map(|part| part.process_query_key.clone());
        if progress.parts <= 1 && parts.len() <= 1 {
            parts.clear();
        }
        let cause = cause.map(|cause| (cause.code, cause.message, cause.cure));
        let (code, message, cure) = match cause {
            Some((code, message, cure)) => (Some(code), Some(message), cure),
            None => (None, None, None),
        };
        Done {
            receipt: Receipt {
                id: self.id.clone(),
                account: self.account.clone(),
                subject: self.subject.map(str::to_owned),
                outcome,
                via: progress.via,
                process_query_key: first_key,
                code,
                message,
                cure,
                refused_users: progress.refused_users,
                uncertain_users: progress.uncertain_users,
                unsent_users,
                out_track_id: None,
                parts,
                attempts: progress.attempts,
                requested_at: self.published.requested_at(),
                finished_at: Timestamp::now(),
                cost: progress.cost,
            },
            dead: match outcome {
                Outcome::Sent | Outcome::Uncertain => None,
                Outcome::Failed => Some(DeadReason::Refused),
                Outcome::Expired => Some(DeadReason::Expired),
            },
        }
    }

    /// The message that carries the receipt.
    pub(super) fn receipt_message(
        &self,
        subjects: &Subjects,
        receipt: &Receipt,
    ) -> Result<Outgoing, serde_json::Error> {
        let mut headers = self.headers(format!("receipt:{}:{}", self.account, self.id));
        headers.push((header::REQUEST_ID.into(), self.id.as_str().to_owned()));
        Ok(Outgoing {
            subject: subjects.receipt(self.account, self.id),
            headers,
            payload: serde_json::to_vec(receipt)?.into(),
        })
    }

    /// The message that carries the dead letter. Its deduplication key is the publication's, so that
    /// a second try is folded. With `claim` the body lies in the object store under that key.
    pub(super) fn dead_message(
        &self,
        subjects: &Subjects,
        end: (&Receipt, DeadReason),
        claim: Option<&str>,
    ) -> Result<Outgoing, serde_json::Error> {
        let (receipt, reason) = end;
        let detail = receipt.message.clone().unwrap_or_default();
        let publication = self.published.publication;
        let mut headers = self.headers(format!(
            "dead:{}:{}:{}",
            self.account, publication.seq, publication.at
        ));
        let mut add = |name: &'static str, value: String| headers.push((name.into(), value));
        add(header::REQUEST_ID, self.id.as_str().to_owned());
        add(header::DEAD_REASON, reason.as_str().to_owned());
        add(header::DEAD_DETAIL, header_text(&detail));
        add(header::SOURCE_SUBJECT, self.published.subject.clone());
        add(header::SOURCE_SEQUENCE, publication.seq.to_string());
        if let Some(claim) = claim {
            add(header::CLAIM, claim.to_owned());
        }
        let letter = DeadLetter {
            direction: Direction::Outbound,
            account: self.account.as_str().to_owned(),
            reason,
            detail,
            code: receipt.code.clone(),
            subject: self.published.subject.clone(),
            id: Some(self.id.as_str().to_owned()),
            payload: match claim {
                Some(_) => Value::Null,
                None => body(&self.published.payload),
            },
            at: receipt.finished_at,
        };
        Ok(Outgoing {
            subject: subjects.dead(Direction::Outbound, self.account.as_str()),
            headers,
            payload: serde_json::to_vec(&letter)?.into(),
        })
    }

    fn headers(&self, message_id: String) -> Headers {
        let mut headers = vec![
            (header::MSG_ID.into(), message_id),
            (header::CONTENT_TYPE.into(), "application/json".to_owned()),
            (header::ACCOUNT.into(), self.account.as_str().to_owned()),
        ];
        if let Some(trace) = header_value(&self.published.headers, header::TRACEPARENT) {
            headers.push((header::TRACEPARENT.into(), trace.to_owned()));
        }
        headers
    }
}

/// A body as it goes into a dead letter: JSON as it was, else text.
fn body(payload: &[u8]) -> Value {
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()))
}

/// A text on one line of printable characters.
fn header_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(HEADER_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Via};

    fn published(payload: &'static [u8], headers: &[(&str, &str)]) -> Published {
        Published {
            subject: "dingtalk.outbound.sales.user.u1".into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned().into(), (*value).to_owned()))
                .collect(),
            payload: Bytes::from_static(payload),
            publication: Publication {
                seq: 4,
                at: Timestamp::from_millis(1000),
            },
        }
    }

    fn with_matter<T>(published: &Published, test: impl FnOnce(Matter<'_>) -> T) -> T {
        test(Matter {
            account: &AccountName::parse("sales").unwrap(),
            id: &RequestId::parse("order 42").unwrap(),
            published,
            subject: Some(&published.subject),
        })
    }

    fn ended(outcome: Outcome, progress: Progress) -> Ended {
        Ended {
            outcome,
            progress,
            unsent_users: Vec::new(),
            cause: None,
        }
    }

    #[test]
    fn a_request_of_one_part_has_its_key_and_no_list() {
        let progress = Progress {
            parts: 1,
            parts_done: vec![Part {
                outcome: Outcome::Sent,
                via: Some(Via::Openapi),
                process_query_key: Some("k1".into()),
            }],
            ..Progress::default()
        };
        let done = with_matter(&published(b"{}", &[]), |matter| {
            matter.ended(ended(Outcome::Sent, progress))
        });
        assert_eq!(done.receipt.process_query_key.as_deref(), Some("k1"));
        assert!(done.receipt.parts.is_empty() && done.dead.is_none());
    }

    #[test]
    fn parts_are_listed_as_far_as_they_ended_and_later_ones_are_not() {
        let sent = Part {
            outcome: Outcome::Sent,
            via: Some(Via::Openapi),
            process_query_key: Some("k1".into()),
        };
        for outcome in [Outcome::Failed, Outcome::Uncertain, Outcome::Expired] {
            let mut progress = Progress {
                part: 1,
                parts: 3,
                parts_done: vec![sent.clone()],
                ..Progress::default()
            };
            progress.give_up(outcome);
            let listed = 1 + usize::from(outcome != Outcome::Expired);
            let done = with_matter(&published(b"{}", &[]), |matter| {
                matter.ended(ended(outcome, progress))
            });
            assert_eq!(done.receipt.parts.len(), listed, "{outcome:?}");
            assert_eq!(done.dead.is_some(), outcome != Outcome::Uncertain);
        }
    }

    #[test]
    fn a_dead_letter_keeps_what_is_no_json_as_text_and_its_headers_on_one_line() {
        let subjects = Subjects::new("dingtalk").unwrap();
        let refusal = Refusal::new(DeadReason::Malformed, "line one\r\nline two");
        let message = with_matter(&published(b"{nope", &[("traceparent", "00-1")]), |matter| {
            let done = matter.refused(&refusal, Progress::default());
            let end = (&done.receipt, DeadReason::Malformed);
            matter.dead_message(&subjects, end, None).unwrap()
        });
        assert_eq!(message.subject, "dingtalk.dead.outbound.sales");
        let value = |name: &str| header_value(&message.headers, name).unwrap().to_owned();
        assert_eq!(value(header::DEAD_DETAIL), "line one  line two");
        assert_eq!(value(header::TRACEPARENT), "00-1");
        let letter: DeadLetter = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(letter.payload, Value::String("{nope".into()));
        assert_eq!(letter.id.as_deref(), Some("order 42"));
    }

    #[test]
    fn a_moved_request_was_asked_for_when_its_original_was_published() {
        let moved = published(
            b"{}",
            &[("Dingtalk-Source-Time", "1970-01-01T00:00:00.250Z")],
        );
        assert_eq!(moved.requested_at(), Timestamp::from_millis(250));
        assert_eq!(
            published(b"{}", &[]).requested_at(),
            Timestamp::from_millis(1000)
        );
    }
}
