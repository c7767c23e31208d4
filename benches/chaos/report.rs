//! The ledger as a document: what ran where, one line a row, and what was missed.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use nats_dingtalk::message::Timestamp;

use crate::row::{Outcome, Scenario};
use crate::settle::Books;
use crate::support::nats;

/// Everything that a run came to.
pub(crate) struct Ledger {
    seed: u64,
    selection: String,
    build: &'static str,
    rows: Vec<(Scenario, Outcome)>,
}

const COLUMNS: &[&str] = &[
    "Scenario",
    "sent",
    "frames",
    "acked",
    "late acks",
    "stored",
    "repeated",
    "lost",
    "given up",
    "requests",
    "receipts",
    "double",
    "untrue",
    "recovery in / out, s",
    "aim, s",
    "aims",
];

impl Ledger {
    /// An empty one, for a run of the rows that `selection` names.
    pub(crate) fn new(seed: u64, selection: String) -> Self {
        let build = if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        };
        Self {
            seed,
            selection,
            build,
            rows: Vec::new(),
        }
    }

    /// Adds a row and prints its line.
    pub(crate) fn add(&mut self, scenario: Scenario, outcome: Outcome, took: Duration) {
        println!(
            "{}  ({:.0} s)",
            line(&scenario, &outcome),
            took.as_secs_f64()
        );
        self.rows.push((scenario, outcome));
    }

    /// Prints what stands above the lines of a run.
    pub(crate) fn print_head(&self) {
        println!("{}\n{}", self.conditions(), head());
    }

    /// Rows that miss an aim.
    pub(crate) fn missed(&self) -> usize {
        let missed =
            |(scenario, outcome): &&(Scenario, Outcome)| !outcome.misses(scenario).is_empty();
        self.rows.iter().filter(missed).count()
    }

    fn conditions(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let server = Command::new(nats::program()).arg("--version").output();
        let server = server.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let processor = read("/proc/cpuinfo");
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, name)| name.trim());
        format!(
            "Date {}, {}, seed {}, bridge {} ({} build), {}, {} cores of {processor}, Linux {}.\n",
            Timestamp::now(),
            self.selection,
            self.seed,
            env!("CARGO_PKG_VERSION"),
            self.build,
            server.unwrap_or_default(),
            cores,
            kernel.trim(),
        )
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        let mut text = String::from(include_str!("preface.md"));
        let _ = writeln!(text, "\n## The run\n\n{}\n{}", self.conditions(), head());
        for (scenario, outcome) in &self.rows {
            let _ = writeln!(text, "{}", line(scenario, outcome));
        }
        let mut notes = String::new();
        for (scenario, outcome) in &self.rows {
            if let Outcome::NotRun(why) = outcome {
                let _ = writeln!(notes, "- {}: not run, {why}", scenario.name);
            }
            let misses = outcome.misses(scenario);
            if !misses.is_empty() {
                let _ = writeln!(notes, "- {}: {}", scenario.name, misses.join("; "));
            }
        }
        if !notes.is_empty() {
            let _ = write!(text, "\n## Missed or not run\n\n{notes}");
        }
        text
    }
}

fn head() -> String {
    let rule: String = COLUMNS.iter().map(|_| "---|").collect();
    format!("| {} |\n|{rule}", COLUMNS.join(" | "))
}

fn line(scenario: &Scenario, outcome: &Outcome) -> String {
    let books = match outcome {
        Outcome::Settled(books) => books,
        Outcome::NotRun(_) => return single(scenario, "not run"),
        Outcome::Broken(why) => return single(scenario, &format!("**broke off**: {why}")),
    };
    let missed = outcome.misses(scenario);
    let aims = if missed.is_empty() {
        "met".to_owned()
    } else {
        format!("**missed**: {}", missed.join("; "))
    };
    let cells = [
        scenario.name.clone(),
        books.sent.to_string(),
        books.frames.to_string(),
        books.acked.to_string(),
        books.late_acks.to_string(),
        books.stored.to_string(),
        books.repeated.to_string(),
        books.lost.to_string(),
        books.given_up.to_string(),
        books.requests.to_string(),
        receipts(books),
        books.double_sends.to_string(),
        books.untrue.to_string(),
        format!(
            "{} / {}",
            seconds(books.recovery_in),
            seconds(books.recovery_out)
        ),
        scenario.recovery.as_secs().to_string(),
        aims,
    ];
    format!("| {} |", cells.join(" | "))
}

fn single(scenario: &Scenario, state: &str) -> String {
    let empty = "| ".repeat(COLUMNS.len() - 2);
    format!("| {} {empty}| {state} |", scenario.name)
}

fn receipts(books: &Books) -> String {
    let counts = books
        .receipts
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(
        || "never".to_owned(),
        |span| format!("{:.1}", span.as_secs_f64()),
    )
}
