//! The one place where DingTalk's errors get their meaning: the table of codes of both API families
//! and the judgement of an answer (oapi.md, sections 2.7, 4.3, 9.2, 9.3, 9.6).

mod codes;
mod judge;

pub(super) use judge::{Call, Lesson, Lost, MUTE, Refusal, judge, lost, mismatch, without_token};

#[cfg(test)]
mod tests;
