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
    rows: Vec<Row>,
    took: Duration,
}

/// A row, what it came to, and how long it took.
type Row = (Scenario, Outcome, Duration);

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
        Self {
            seed,
            selection,
            rows: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, scenario: Scenario, outcome: Outcome, took: Duration) {
        self.rows.push((scenario, outcome, took));
    }

    /// Notes how long all rows took.
    pub(crate) fn took(&mut self, took: Duration) {
        self.took = took;
    }

    /// Prints what stands above the lines of a run.
    pub(crate) fn print_head(&self) {
        println!("{}", self.conditions());
    }

    /// What it came to, in a line.
    pub(crate) fn summary(&self) -> String {
        let not_run = |(_, outcome, _): &&Row| matches!(outcome, Outcome::NotRun(_));
        format!(
            "{} rows in {:.0} min: {} miss their aims, {} not run",
            self.rows.len(),
            self.took.as_secs_f64() / 60.0,
            self.missed(),
            self.rows.iter().filter(not_run).count(),
        )
    }

    /// Rows that miss an aim.
    pub(crate) fn missed(&self) -> usize {
        let missed = |(scenario, outcome, _): &&Row| !outcome.misses(scenario).is_empty();
        self.rows.iter().filter(missed).count()
    }

    /// Rows whose books are wrong, however fast they recovered.
    pub(crate) fn wrong(&self) -> usize {
        let wrong = |(_, outcome, _): &&Row| !outcome.wrong().is_empty();
        self.rows.iter().filter(wrong).count()
    }

    fn conditions(&self) -> String {
        format!(
            "Date {}, {}, seed {}, {}.\n",
            Timestamp::now(),
            self.selection,
            self.seed,
            machine(),
        )
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        let mut text = String::from(include_str!("preface.md"));
        let _ = writeln!(
            text,
            "\n## The run\n\n{}\n{}.\n\n{}",
            self.conditions(),
            self.summary(),
            head()
        );
        let mut notes = String::new();
        let mut missed = String::new();
        for (scenario, outcome, _) in &self.rows {
            let _ = writeln!(text, "{}", line(scenario, outcome));
            if let Some(note) = scenario.note {
                let _ = writeln!(notes, "- {}: {note}", scenario.name);
            }
            if let Outcome::NotRun(not_run) = outcome {
                let _ = writeln!(missed, "- {}: not run, {}", scenario.name, not_run.why());
            }
            let misses = outcome.misses(scenario);
            if !misses.is_empty() {
                let _ = writeln!(missed, "- {}: {}", scenario.name, misses.join("; "));
            }
        }
        for (title, lines) in [("Notes on rows", notes), ("Missed or not run", missed)] {
            if !lines.is_empty() {
                let _ = write!(text, "\n## {title}\n\n{lines}");
            }
        }
        text
    }
}

/// Where a run takes place.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let server = Command::new(nats::program()).arg("--version").output();
    let server = server.expect("nats-server starts; `make chaos` fetches it");
    let server = String::from_utf8_lossy(&server.stdout).trim().to_owned();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processor = read("/proc/cpuinfo");
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let build = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    format!(
        "bridge {} ({build} build), {server}, {cores} cores of {processor}, Linux {}",
        env!("CARGO_PKG_VERSION"),
        kernel.trim(),
    )
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
        match scenario.note {
            Some(_) => format!("{} (see the notes)", scenario.name),
            None => scenario.name.clone(),
        },
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
        aim(scenario, books),
        aims,
    ];
    format!("| {} |", cells.join(" | "))
}

/// The aim for recovery; that of sending apart where it is another.
fn aim(scenario: &Scenario, books: &Books) -> String {
    let (inward, outward) = scenario.aims(books);
    if inward == outward {
        inward.as_secs().to_string()
    } else {
        format!("{} / {}", inward.as_secs(), outward.as_secs())
    }
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
