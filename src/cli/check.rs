//! `check`: what would stop a bridge from working, found before it starts. It changes nothing and
//! costs nothing.

use std::time::Duration;

use clap::Args;

use super::exit::{Failure, even_unread};
use super::print;
use super::settings::{self, BridgeArgs};
use crate::broker::{Broker, BrokerError, Permitted, Survey};
use crate::config::{self, Config, Environment, ServerLocation};
use crate::dingtalk::api::Http;
use crate::dingtalk::stream;
use crate::ops::Admin;
use crate::telemetry::{Health, Metrics};

/// Clocks further apart make signatures, expiry and redelivery times wrong.
const MAX_SKEW: Duration = Duration::from_secs(30);
/// Most rights that are named as missing.
const MAX_LACKS: usize = 8;
/// Width of the column of names.
const NAME_WIDTH: usize = 24;

/// Check configuration, broker and credentials without sending anything
///
/// Every line is `ok`, a `note`, or says what is wrong and what to do. Credentials are proved by asking DingTalk for
/// a connection that is never opened; no call is billed. Exit code 0 when nothing is wrong, 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk check\n  \
    nats-dingtalk check --config bridge.toml")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    bridge: BridgeArgs,
}

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Ok,
    Note,
    Wrong,
}

/// The lines so far.
#[derive(Debug, Default)]
struct Report {
    wrong: usize,
}

impl Report {
    fn line(&mut self, grade: Grade, name: &str, text: &str) -> Result<(), Failure> {
        let word = match grade {
            Grade::Ok => "ok   ",
            Grade::Note => "note ",
            Grade::Wrong => "WRONG",
        };
        self.wrong += usize::from(grade == Grade::Wrong);
        even_unread(print::line(&format!(
            "{word}  {name:<NAME_WIDTH$} {}",
            print::plain(text)
        )))
    }

    fn result(&mut self, name: &str, result: &Result<String, String>) -> Result<(), Failure> {
        match result {
            Ok(text) => self.line(Grade::Ok, name, text),
            Err(text) => self.line(Grade::Wrong, name, text),
        }
    }
}

/// Checks everything that can be checked, whatever the first findings are.
pub(super) async fn execute(args: CheckArgs) -> Result<(), Failure> {
    let source = args.bridge.source();
    let environment = Environment::capture();
    let mut report = Report::default();
    let config = config::load_from(&source, &environment)?;
    let file = source.path(&environment);
    let file = file.map_or_else(
        || "from the environment".to_owned(),
        |path| path.display().to_string(),
    );
    report.line(Grade::Ok, "configuration", &file)?;
    if let Err(error) = config.require_accounts() {
        report.line(Grade::Wrong, "accounts", &error.to_string())?;
    }
    check_broker(&config, &mut report).await?;
    check_dingtalk(&config, &mut report).await?;
    show_robots(&config, &mut report)?;
    check_admin(&config, &mut report).await?;
    match report.wrong {
        0 => Ok(()),
        _ => Err(Failure::Said),
    }
}

async fn check_broker(config: &Config, report: &mut Report) -> Result<(), Failure> {
    let managed = matches!(config.nats.server, ServerLocation::Managed { .. });
    let survey = match settings::broker_url(config) {
        Ok(url) => survey(config, &url).await,
        Err(_) => Err("its port is picked when it starts".to_owned()),
    };
    match survey {
        Ok(survey) => show_survey(&survey, report),
        // It is started by `run`; not running now is no fault.
        Err(reason) if managed => {
            let text = format!("started by `run`, does not run now ({reason})");
            report.line(Grade::Note, "broker", &text)
        }
        Err(reason) => report.line(Grade::Wrong, "broker", &reason),
    }
}

async fn survey(config: &Config, url: &str) -> Result<Survey, String> {
    let (metrics, health) = (Metrics::new(), Health::new(&[]));
    let broker = Broker::connect(&config.nats, url, metrics, health).await;
    let broker = broker.map_err(|error| error.to_string())?;
    let survey = broker.survey().await;
    if survey.is_ok() {
        broker.close().await;
    }
    survey.map_err(|error| format!("{error}; start it, or correct nats.url and its credentials"))
}

fn show_survey(survey: &Survey, report: &mut Report) -> Result<(), Failure> {
    match &survey.server {
        Ok(()) => report.line(
            Grade::Ok,
            "broker",
            &format!("nats-server {}", survey.version),
        )?,
        Err(error) => report.line(Grade::Wrong, "broker", &error.to_string())?,
    }
    show_permitted(&survey.permitted, report)?;
    if let Err(error) = &survey.jetstream {
        let text = format!("{error}; start nats-server with -js, and let this user use it");
        return report.line(Grade::Wrong, "jetstream", &text);
    }
    for (name, fits) in &survey.streams {
        match fits {
            Ok(true) => report.line(Grade::Ok, name, "fits")?,
            Ok(false) => report.line(Grade::Note, name, "is missing; `run` creates it")?,
            Err(error) => report.line(Grade::Wrong, name, &error.to_string())?,
        }
    }
    Ok(())
}

fn show_permitted(
    permitted: &Result<Permitted, BrokerError>,
    report: &mut Report,
) -> Result<(), Failure> {
    let lacks = match permitted {
        Ok(Permitted::Everything) => {
            let text =
                "this user may do everything; `nats-dingtalk permissions` prints what is enough";
            return report.line(Grade::Ok, "permissions", text);
        }
        Ok(Permitted::Enough) => {
            return report.line(Grade::Ok, "permissions", "are what a bridge needs");
        }
        Ok(Permitted::Lacks(lacks)) => lacks,
        Err(error) => {
            let text = format!(
                "the broker does not say what this user may do ({error}); let it publish to $SYS.REQ.USER.INFO, as \
                 `nats-dingtalk permissions --role bridge` has it"
            );
            return report.line(Grade::Wrong, "permissions", &text);
        }
    };
    for lack in lacks.iter().take(MAX_LACKS) {
        let text = format!(
            "this user may not {lack}; `nats-dingtalk permissions --role bridge` prints what it needs"
        );
        report.line(Grade::Wrong, "permissions", &text)?;
    }
    if let Some(more) = lacks.len().checked_sub(MAX_LACKS).filter(|more| *more > 0) {
        report.line(Grade::Wrong, "permissions", &format!("and {more} more"))?;
    }
    Ok(())
}

async fn check_dingtalk(config: &Config, report: &mut Report) -> Result<(), Failure> {
    let http = match Http::new(&config.dingtalk) {
        Ok(http) => http,
        Err(error) => return report.line(Grade::Wrong, "dingtalk", &error.to_string()),
    };
    let api_url = &config.dingtalk.api_url;
    match stream::clock_skew(http.client(), api_url).await {
        Err(reason) => {
            let text = format!("{reason}; check dingtalk.api_url, dingtalk.proxy and the firewall");
            return report.line(Grade::Wrong, "dingtalk", &text);
        }
        Ok(None) => report.line(
            Grade::Note,
            "clock",
            "the answer has no Date to compare with",
        )?,
        Ok(Some(skew)) if skew > MAX_SKEW => {
            let text = format!(
                "{} s away from DingTalk's; synchronise it (NTP)",
                skew.as_secs()
            );
            report.line(Grade::Wrong, "clock", &text)?;
        }
        Ok(Some(skew)) if skew.is_zero() => {
            report.line(Grade::Ok, "clock", "agrees with DingTalk's")?;
        }
        Ok(Some(skew)) => {
            let text = format!("{} s away from DingTalk's", skew.as_secs());
            report.line(Grade::Ok, "clock", &text)?;
        }
    }
    for (name, account) in &config.accounts {
        let name = format!("account {name}");
        if account.paused {
            report.line(Grade::Note, &name, "is paused by the configuration")?;
            continue;
        }
        let opened = stream::probe(http.client(), api_url, account).await;
        let opened = opened.map(|()| "credentials are taken, Stream Mode is on".to_owned());
        report.result(&name, &opened)?;
    }
    Ok(())
}

/// Robots cannot be asked anything: whatever their webhook is sent is shown in the group.
fn show_robots(config: &Config, report: &mut Report) -> Result<(), Failure> {
    for (name, robot) in &config.webhooks {
        let text = match robot.paused {
            true => "is paused by the configuration",
            false => "is a custom robot; only a message would prove its webhook",
        };
        report.line(Grade::Note, &format!("account {name}"), text)?;
    }
    Ok(())
}

async fn check_admin(config: &Config, report: &mut Report) -> Result<(), Failure> {
    let bound = Admin::bind(config.admin.clone(), Health::new(&[]), Metrics::new()).await;
    let error = match bound {
        Ok(admin) => {
            let text = admin.addr().map_or_else(
                || "not served: admin.listen is empty".to_owned(),
                |addr| format!("{addr} is free"),
            );
            return report.line(Grade::Ok, "admin", &text);
        }
        Err(error) => error,
    };
    if let (Some(listen), Ok(http)) = (config.admin.listen, Http::new(&config.dingtalk)) {
        let live = http.client().get(format!("http://{listen}/live")).send();
        if live.await.is_ok_and(|answer| answer.status().is_success()) {
            let text = format!("a bridge runs already: {listen} answers");
            return report.line(Grade::Note, "admin", &text);
        }
    }
    let text = format!("{:#}", anyhow::Error::new(error));
    report.line(Grade::Wrong, "admin", &text)
}
