//! Instructions of one item of a scenario: the difference between many of them and few.

use std::process::Command;

use tempfile::TempDir;

/// Items of the short run: everything that is made once is made.
const FEW: u64 = 10;

/// Instructions an item; `more` is how many items the long run has beyond those of the short one.
pub(crate) fn instructions(scenario: &str, more: u64) -> u64 {
    let few = counted(scenario, FEW);
    let many = counted(scenario, FEW + more);
    (many - few) / more
}

fn counted(scenario: &str, count: u64) -> u64 {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().unwrap())
        .args([scenario, &count.to_string()])
        .env_clear()
        .output()
        .expect("valgrind runs; `make guard` installs it or says how");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {errors}");
    let text = std::fs::read_to_string(&file).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.unwrap().trim().parse().unwrap()
}
