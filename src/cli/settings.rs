//! Flags that several commands share, and what is made of them: configuration, logging, a broker. It
//! knows no command.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::exit::Failure;
use crate::broker::Broker;
use crate::config::{self, Config, Overrides, ServerLocation, Source};
use crate::telemetry::{Health, Metrics, init_log};

/// Log filter of commands whose output is their answer.
const QUIET: &str = "error";
/// How long a command waits for the broker, its own requests included.
const PATIENCE: Duration = Duration::from_secs(6);

/// Where the configuration and the broker are.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct BrokerArgs {
    /// Configuration file [default: NATS_DINGTALK_CONFIG, else ./nats-dingtalk.toml, else /etc/nats-dingtalk/config.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Broker, instead of nats.url; no user or password here, a command line is public
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// What is logged, such as `info,nats_dingtalk::outbound=debug`
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
    /// Form of log lines: text or json
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
}

impl BrokerArgs {
    /// What the flags say about the configuration.
    pub(super) fn source(&self) -> Source {
        Source {
            file: self.config.clone(),
            overrides: Overrides {
                nats_url: self.nats_url.clone(),
                log_filter: self.log_filter.clone(),
                log_format: self.log_format.clone(),
                ..Overrides::default()
            },
        }
    }

    /// Loads the configuration and sets up logging of errors only, unless a flag asks for more.
    pub(super) fn load_quietly(&self) -> Result<Config, Failure> {
        let mut source = self.source();
        let filter = &mut source.overrides.log_filter;
        filter.get_or_insert_with(|| QUIET.to_owned());
        let config = config::load(&source)?;
        init_log(&config.log).map_err(Failure::usage)?;
        Ok(config)
    }
}

/// Everything about the bridge that a flag can set.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct BridgeArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// DingTalk's API, instead of dingtalk.api_url: a simulator, a proxy, an overseas site
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
    /// DingTalk's legacy API, instead of dingtalk.oapi_url
    #[arg(long, value_name = "URL")]
    oapi_url: Option<String>,
    /// Folder of the spool, instead of spool.dir; one bridge each
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<String>,
    /// Address of health and metrics, instead of admin.listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl BridgeArgs {
    /// What the flags say about the configuration.
    pub(super) fn source(&self) -> Source {
        let mut source = self.broker.source();
        source.overrides.api_url.clone_from(&self.api_url);
        source.overrides.oapi_url.clone_from(&self.oapi_url);
        source.overrides.spool_dir.clone_from(&self.spool_dir);
        source.overrides.admin_listen.clone_from(&self.admin_listen);
        source
    }
}

/// Where the broker of `config` is: a managed one is on loopback.
pub(super) fn broker_url(config: &Config) -> Result<String, Failure> {
    match &config.nats.server {
        ServerLocation::Url(url) => Ok(url.clone()),
        ServerLocation::Managed { port: 0, .. } => Err(Failure::Usage(anyhow!(
            "nats.port = 0 lets the bridge pick a port; say where its broker is with --nats-url"
        ))),
        ServerLocation::Managed { port, .. } => Ok(format!("nats://127.0.0.1:{port}")),
    }
}

/// Connects to the broker, or says that it is not there.
pub(super) async fn connect(config: &Config) -> Result<Broker, Failure> {
    let url = broker_url(config)?;
    let broker = Broker::connect(&config.nats, &url, Metrics::new(), Health::new(&[]))
        .await
        .map_err(Failure::usage)?;
    let connected = async {
        while !broker.connected() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.map_err(|_| {
        Failure::Failed(anyhow!(
            "no broker answers at {}; start one, or say where it is with nats.url or --nats-url",
            shown(&url)
        ))
    })?;
    Ok(broker)
}

/// `url` without what may be a password.
fn shown(url: &str) -> String {
    let host = |part: &str| {
        let (scheme, rest) = part.split_once("://").unwrap_or(("nats", part));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    };
    url.split(',')
        .map(|part| host(part.trim()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let url = "nats://u:p4ss@a:1, tls://b:2,c";
        assert_eq!(shown(url), "nats://a:1, tls://b:2, nats://c");
    }
}
