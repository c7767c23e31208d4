//! One row of the ledger: a scenario with its name, and what it came to against its aims.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use fastrand::Rng;

use crate::settle::Books;
use crate::variable;

/// A row that is running.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Books, NotRun>>>>;

/// Why a row could not be run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// The machine or its rights do not allow it.
    Impossible(String),
    /// Something is missing that can be installed or built: with `CI` set that is a failure.
    Missing(String),
}

impl NotRun {
    /// The reason.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Impossible(why) | Self::Missing(why) => why,
        }
    }
}

/// Which rows a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// About five minutes, for every change.
    Short,
    /// Up to an hour.
    Full,
}

/// One scenario.
pub(crate) struct Scenario {
    /// What `ONLY` takes, and what the ledger says.
    pub(crate) name: String,
    /// The smallest set that it is in.
    pub(crate) set: Set,
    /// The aim for recovery.
    pub(crate) recovery: Duration,
    /// What a reader of its line should know.
    pub(crate) note: Option<&'static str>,
    /// Whether it mostly waits under little load, so that it may run beside others of its kind.
    pub(crate) idle: bool,
    /// Runs it.
    pub(crate) run: Box<dyn Fn(Rng) -> Running>,
}

impl Scenario {
    /// The aims for recovery, in and out.
    pub(crate) fn aims(&self, books: &Books) -> (Duration, Duration) {
        let outward = match self.recovery {
            TAKEOVER if books.all_in_doubt => IN_DOUBT,
            recovery => recovery,
        };
        (self.recovery, outward)
    }
}

/// Recovery after a fault that leaves every process where it is.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Recovery when another process has to take over.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(10);

/// Recovery of sending when every chat had a call under way: none goes on before nobody can be waiting for
/// that call's answer any more, 12 s after it left (`outbound::Timings`), or the next request could overtake it.
pub(crate) const IN_DOUBT: Duration = Duration::from_secs(13);

/// A row of the ledger.
pub(crate) enum Outcome {
    /// It ran.
    Settled(Box<Books>),
    /// It could not be run here.
    NotRun(NotRun),
    /// It broke off.
    Broken(String),
}

impl Outcome {
    /// In a few words.
    pub(crate) fn verdict(&self, scenario: &Scenario) -> String {
        let misses = self.misses(scenario);
        match self {
            _ if !misses.is_empty() => format!("MISSED: {}", misses.join("; ")),
            Self::NotRun(not_run) => format!("not run: {}", not_run.why()),
            Self::Settled(books) => format!(
                "met: {} acked, {} stored, {} requests, recovered in {:.1} s and {:.1} s",
                books.acked,
                books.stored,
                books.requests,
                books.recovery_in.unwrap_or_default().as_secs_f64(),
                books.recovery_out.unwrap_or_default().as_secs_f64(),
            ),
            Self::Broken(why) => format!("broke off: {why}"),
        }
    }

    /// What it misses of its aims; empty when it meets them all.
    pub(crate) fn misses(&self, scenario: &Scenario) -> Vec<String> {
        let mut misses = self.wrong();
        misses.extend(self.late(scenario));
        misses
    }

    /// What is wrong in its books, whatever the machine had to do besides.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let books = match self {
            Self::Settled(books) => books,
            Self::NotRun(NotRun::Missing(why)) if variable("CI").is_some() => {
                return vec![format!("not run: {why}")];
            }
            Self::NotRun(_) => return Vec::new(),
            Self::Broken(why) => return vec![format!("broke off: {why}")],
        };
        let mut wrong = Vec::new();
        let none = [
            (books.lost, "acknowledged and lost"),
            (books.repeated, "stored more than once"),
            (books.unsettled, "requests without exactly one receipt"),
            (books.double_sends, "requests seen more than once"),
            (books.untrue, "receipts that are not true"),
            (books.overtaken, "requests seen out of order"),
        ];
        for (count, what) in none {
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        for (count, what) in [(books.acked, "frames"), (books.requests, "requests")] {
            if count == 0 {
                wrong.push(format!("no {what}: the row shows nothing"));
            }
        }
        wrong
    }

    /// How it recovered too late.
    fn late(&self, scenario: &Scenario) -> Vec<String> {
        let Self::Settled(books) = self else {
            return Vec::new();
        };
        let mut late = Vec::new();
        let (inward, outward) = scenario.aims(books);
        for (took, aim, side) in [
            (books.recovery_in, inward, "in"),
            (books.recovery_out, outward, "out"),
        ] {
            match took {
                None => late.push(format!("did not recover ({side})")),
                Some(took) if took > aim => late.push(format!(
                    "recovered after {:.1} s ({side}), the aim is {} s",
                    took.as_secs_f64(),
                    aim.as_secs()
                )),
                Some(_) => {}
            }
        }
        late
    }
}
