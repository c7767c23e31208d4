//! Refusals inside HTTP 200: which members of an answer say that nothing was done (oapi.md, section
//! 9.6, point 2).

use super::super::answer::Words;
use super::refusal::Call;
use crate::dingtalk::json::{Members, boolean};

/// Code of a refusal that carries none.
const UNNAMED: &str = "refused";

/// What a success status hides.
pub(super) enum Complaint {
    /// Nothing: it is a success.
    None,
    /// A refusal in these words.
    Words(Words),
    /// A success status without what a success says.
    Unclear,
}

/// Looks for a refusal in an answer with a success status.
pub(super) fn complaint(call: Call, members: &Members<'_>) -> Complaint {
    let refused = Complaint::Words(Words::of(members));
    match (members.value("errcode"), members.integer("errcode")) {
        (Some(_), Some(0)) => return Complaint::None,
        (Some(_), Some(_)) => return refused,
        (Some(_), None) => return Complaint::Unclear,
        (None, _) => {}
    }
    if members.boolean("success") == Some(false) {
        return refused;
    }
    let told = ["success", "processQueryKey", "result"]
        .iter()
        .any(|name| members.value(name).is_some());
    if members.filled("code").is_some() && !told {
        return refused;
    }
    match call {
        Call::Webhook | Call::CustomRobot | Call::Upload | Call::Contact if !told => {
            Complaint::Unclear
        }
        Call::Card | Call::CardStream | Call::Emotion => match inner(members) {
            Some(words) => Complaint::Words(words),
            None if told => Complaint::None,
            None => Complaint::Unclear,
        },
        Call::Webhook
        | Call::CustomRobot
        | Call::Upload
        | Call::Contact
        | Call::Robot
        | Call::Token
        | Call::Recall
        | Call::Query => Complaint::None,
    }
}

/// The first refusal below `success`: a `result` that is `false`, or an element of `result` or
/// `deliverResults` with `success: false` (oapi.md, sections 6.2 and 6.3).
fn inner(members: &Members<'_>) -> Option<Words> {
    let unnamed = |words: Words| match words.code.is_empty() {
        true => Words {
            code: UNNAMED.to_owned(),
            ..words
        },
        false => words,
    };
    if members.value("result").and_then(boolean) == Some(false) {
        return Some(unnamed(Words::of(members)));
    }
    let result = members.object("result");
    let lists = [
        members.array("result"),
        members.array("deliverResults"),
        result
            .as_ref()
            .and_then(|inner| inner.array("deliverResults")),
    ];
    let elements = lists.into_iter().flatten().flatten();
    let elements = elements.filter_map(|element| Members::read(element.get()));
    let refused = |element: &Members<'_>| element.boolean("success") == Some(false);
    result
        .clone()
        .into_iter()
        .chain(elements)
        .find(refused)
        .map(|element| unnamed(Words::of(&element)))
}
