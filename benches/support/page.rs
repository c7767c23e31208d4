//! The document: preface, machine, aims, sections in the order in which they were measured, and the
//! plots beside it.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::aims::Aim;
use super::machine::machine;
use super::size::{loops_alone, quick};

/// What is collected during the run and written at its end.
pub(crate) struct Page {
    machine: String,
    aims: Vec<Aim>,
    sections: String,
    plots: Vec<(&'static str, String)>,
}

impl Page {
    /// An empty one; notes the machine as it is before the run.
    pub(crate) fn new() -> Self {
        Self {
            machine: machine(),
            aims: Vec::new(),
            sections: String::new(),
            plots: Vec::new(),
        }
    }

    /// Adds an aim with what became of it.
    pub(crate) fn aim(&mut self, aim: Aim) {
        self.aims.push(aim);
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, title: &str) {
        println!("== {title}");
        let _ = writeln!(self.sections, "\n## {title}");
    }

    /// Adds a paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        println!("{text}\n");
        let _ = writeln!(self.sections, "\n{text}");
    }

    /// Adds a table; the first column is text, the others are figures.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let rule = format!("|---|{}", "---:|".repeat(head.len() - 1));
        let mut text = format!("| {} |\n{rule}", head.join(" | "));
        for row in rows {
            let _ = write!(text, "\n| {} |", row.join(" | "));
        }
        self.text(&text);
    }

    /// Adds a plot by the name of its file.
    pub(crate) fn plot(&mut self, name: &'static str, caption: &str, svg: String) {
        self.plots.push((name, svg));
        let _ = writeln!(self.sections, "\n![{caption}](performance/{name}.svg)");
    }

    /// Writes it into `docs`, or a quick or partial one into `target`, where it does not pass for a result.
    pub(crate) fn write(&self) {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let folder = if quick() || loops_alone() {
            root.join("target/performance")
        } else {
            root.join("docs")
        };
        std::fs::create_dir_all(folder.join("performance")).unwrap();
        for (name, svg) in &self.plots {
            std::fs::write(folder.join(format!("performance/{name}.svg")), svg).unwrap();
        }
        let path = folder.join("performance.md");
        std::fs::write(&path, self.document()).unwrap();
        println!("written: {}", path.display());
    }

    fn document(&self) -> String {
        let mut text = include_str!("preface.md").to_owned();
        let _ = writeln!(text, "\n## The run\n\n{}", self.machine);
        if quick() {
            let _ = writeln!(
                text,
                "\n**A quick run: too short for its figures to mean anything.**"
            );
        }
        let _ = writeln!(
            text,
            "\n## Aims\n\n| Aim | Measured | Verdict |\n|---|---|---|\n{}",
            self.aims
                .iter()
                .map(Aim::row)
                .collect::<String>()
                .trim_end()
        );
        for aim in &self.aims {
            if let Some(reason) = aim.reason() {
                let _ = writeln!(text, "\n{reason}");
            }
        }
        text + &self.sections
    }
}
