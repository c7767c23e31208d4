//! The configuration through its front door: temporary files and a map for the environment.

mod changes;
mod layers;
mod refusals;
mod secrets;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Format, Toml};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::schema::{ACCOUNT_ALIASES, Keys};
use super::*;
use crate::message::Secret;

/// Stands for every secret; longer than any name, as DingTalk's are.
const CANARY: &str = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4";
/// How long a change may take to be noticed.
const DEADLINE: Duration = Duration::from_secs(20);

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/bridge")];
    home.iter().chain(variables).copied().collect()
}

fn source(file: PathBuf) -> Source {
    Source {
        file: Some(file),
        overrides: Overrides::default(),
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let files = Files::new();
    let file = files.write("bridge.toml", text);
    load_from(&source(file), &environment(variables))
}

#[track_caller]
fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    load_text(text, variables).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    load_text(text, variables).unwrap_err().to_string()
}

#[track_caller]
fn refused_with(text: &str, variables: &[(&str, &str)], pieces: &[&str]) {
    let error = refused(text, variables);
    for piece in pieces {
        assert!(error.contains(piece), "no {piece:?} in {error:?}");
    }
}

fn account<'a>(config: &'a Config, name: &str) -> &'a Account {
    config.accounts.get(name).unwrap()
}

const SALES: &str = "[accounts.sales]\nclient_id = 'dingsales'\nclient_secret = 'from-file'\n";
