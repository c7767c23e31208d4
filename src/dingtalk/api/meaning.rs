//! What an answer means, asked without making a call: for whoever has an answer and wonders.

use super::answer::Answer;
use super::errors::{Call, judge};
use super::failure::ApiError;
use crate::message::Timestamp;

/// Every kind of call.
const CALLS: [Call; 11] = [
    Call::Token,
    Call::Robot,
    Call::Webhook,
    Call::CustomRobot,
    Call::Upload,
    Call::Card,
    Call::CardStream,
    Call::Recall,
    Call::Emotion,
    Call::Query,
    Call::Contact,
];

/// What an answer with this status and body tells each kind of call that it refuses; empty when it is
/// a success for all of them.
pub fn meanings(status: u16, body: &str, now: Timestamp) -> Vec<ApiError> {
    let answer = Answer {
        status,
        retry_after: None,
        body: body.to_owned(),
    };
    let refused = |call| judge(call, &answer, now).err();
    let refusals = CALLS.into_iter().filter_map(refused);
    refusals
        .map(|refusal| refusal.error.scrubbed(&[]))
        .collect()
}
