//! Which builds of the bridge run: the one that people get, and one with fail points.

use std::path::{Path, PathBuf};

use crate::support::bridge::PROGRAM;

/// A script that becomes `program`, in place of the folder and the program that it is given first, once
/// `before` has run.
pub(crate) fn replacement(program: &Path, variables: &[(&str, &str)], before: &str) -> String {
    let variables = variables
        .iter()
        .map(|(name, value)| format!("{name}='{value}' "));
    let variables: String = variables.collect();
    format!(
        "set -e\n{before}\nshift 2; exec env {variables}'{}' \"$@\"",
        program.display()
    )
}

/// The bridge as it is built for people, or another build that the environment names.
pub(crate) fn bridge_program() -> PathBuf {
    std::env::var_os("CHAOS_BRIDGE").map_or_else(|| PathBuf::from(PROGRAM), PathBuf::from)
}

/// Whether the build with fail points knows a step.
pub(crate) fn has_step(program: &Path, step: &str) -> bool {
    contains(program, step)
}

fn contains(program: &Path, text: &str) -> bool {
    let bytes = std::fs::read(program).unwrap();
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|window| window == text)
}

/// Fails when the bridge under test carries fail points; only the armed build may.
pub(crate) fn check_builds() {
    let armed = |program: &Path| contains(program, "FAILPOINT");
    assert!(!armed(&bridge_program()), "this build has fail points");
    if let Some(program) = armed_program() {
        assert!(armed(&program), "{} has none", program.display());
    }
}

/// The bridge with fail points, when it was built.
pub(crate) fn armed_program() -> Option<PathBuf> {
    std::env::var_os("CHAOS_ARMED_BRIDGE").map(PathBuf::from)
}
