//! The one place where DingTalk's errors get their meaning: the table of codes of both API families
//! and the judgement of an answer (oapi.md, sections 2.7, 4.3, 9.2, 9.3, 9.6).

mod calendar;
mod codes;
mod complaint;
mod judge;
mod refusal;

pub(super) use judge::{MUTE, judge};
pub(super) use refusal::{Call, Lesson, Lost, Refusal, lost, mismatch, no_app, without_result};

#[cfg(test)]
mod tests;
