//! The committed figures, and the comparison with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// How far a figure may be from its baseline. Compilers and C libraries of one year differ by less.
const TOLERANCE: f64 = 0.05;

const HEAD: &str = "\
# Instructions that one item of each scenario takes, by callgrind in the profile `guard`.
# Renewed with `make guard RENEW=1`, in the change that makes them differ, which says why.
";

/// Instructions by scenario, and the compiler that they hold for.
pub(crate) struct Baseline {
    compiler: String,
    figures: BTreeMap<String, u64>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/guard/baseline.txt")
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

impl Baseline {
    /// The committed one.
    pub(crate) fn read() -> Self {
        let text =
            std::fs::read_to_string(path()).expect("a baseline; `make guard RENEW=1` writes one");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut all: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            compiler: all.remove("compiler").unwrap_or_default(),
            figures: all
                .into_iter()
                .map(|(name, value)| (name, value.parse().expect("a number of instructions")))
                .collect(),
        }
    }

    /// Replaces it.
    pub(crate) fn write(measured: &[(&str, u64)]) {
        let mut text = format!("{HEAD}compiler: {}\n", compiler());
        for (name, instructions) in measured {
            println!("{name}: {instructions}");
            text.push_str(&format!("{name}: {instructions}\n"));
        }
        std::fs::write(path(), text).unwrap();
        println!("written: {}", path().display());
    }

    /// Whether every figure is near its own; prints each, and what to do about those that are not.
    pub(crate) fn holds(&self, measured: &[(&str, u64)]) -> bool {
        let mut held = true;
        for (name, instructions) in measured {
            let Some(before) = self.figures.get(*name) else {
                println!("{name}: {instructions} instructions, and no baseline");
                held = false;
                continue;
            };
            let change = *instructions as f64 / *before as f64 - 1.0;
            let verdict = if change > TOLERANCE {
                "DEARER than the baseline"
            } else if change < -TOLERANCE {
                "cheaper than the baseline, which no longer guards it"
            } else {
                "as the baseline"
            };
            println!(
                "{name}: {instructions} instructions, {before} before, {:+.1} %: {verdict}",
                change * 100.0
            );
            held &= change.abs() <= TOLERANCE;
        }
        if !held {
            println!(
                "\nA figure is more than {:.0} % off. `valgrind --tool=callgrind` on the guard with the name of the scenario and a count \
                 says where the instructions go. If the change is meant, `make guard RENEW=1` writes benches/guard/baseline.txt anew; commit \
                 it with the reason.",
                TOLERANCE * 100.0
            );
            if self.compiler != compiler() {
                println!(
                    "The baseline is of {}, this is {}.",
                    self.compiler,
                    compiler()
                );
            }
        }
        held
    }
}
