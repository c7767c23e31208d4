//! The accounts of a running bridge: each is started, followed through changes and retired on its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::running::Running;
use super::tasks::{Outcome, Task};
use super::{BridgeError, Reload};
use crate::config::{self, AccountChange, Config};
use crate::dingtalk::api::{Api, CustomRobot};
use crate::dingtalk::stream::{Link, LinkConfig, Timings as LinkTimings};
use crate::fleet::{self, Charge};
use crate::inbound::Rules;
use crate::message::AccountName;
use crate::outbound::{self, Mover, MoverParts, Outbound, Strays};
use crate::telemetry::LinkState;
use crate::verbs::{self, Verbs};

impl Running {
    pub(super) fn start_outbound_intake(&mut self) {
        let (subjects, timings) = (self.config.nats.subjects.clone(), self.outbound_timings());
        let mover = Mover::new(MoverParts {
            broker: self.broker.clone(),
            subjects: subjects.clone(),
            served: self.served.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: timings.clone(),
        });
        self.start_plain(Task::Mover, mover.run(self.intake.clone()));
        let served = self.served.clone();
        let strays = Strays::new(
            &self.broker,
            subjects,
            served,
            self.metrics.clone(),
            timings,
        );
        self.start_plain(Task::Strays, strays.run(self.intake.clone()));
    }

    pub(super) fn start_verbs(&mut self) {
        let accounts = self.config.accounts.values();
        let verbs = Verbs::new(verbs::Parts {
            broker: self.broker.clone(),
            apis: self.apis.clone(),
            standings: self.standings.clone(),
            subjects: self.config.nats.subjects.clone(),
            replica: self.replica.clone(),
            clients: accounts.map(|account| account.client_id.clone()).collect(),
        });
        self.start_plain(Task::Verbs, verbs.run(self.questions.clone()));
    }

    fn outbound_timings(&self) -> outbound::Timings {
        outbound::Timings::for_calls(self.config.dingtalk.timeout)
    }

    /// Tells the parts that serve all accounts which there are.
    pub(super) fn serve(&self) {
        let mut policies = policies_of(&self.config);
        // What a removed account still reads while it drains is gated as before.
        for (name, policy) in self.policies.borrow().iter() {
            if self.accounts.contains_key(name) && !policies.contains_key(name) {
                policies.insert(name.clone(), policy.clone());
            }
        }
        self.policies.send_replace(Arc::new(policies));
        let accounts = &self.config.accounts;
        let charge = |(name, account): (&AccountName, &config::Account)| {
            let charge = Charge {
                limit: account.quota.map(|quota| u64::from(quota.get())),
                client: fleet::fingerprint(&account.client_id),
                connections: account.connections,
                sends: !account.paused,
            };
            (name.clone(), charge)
        };
        let robots = &self.config.webhooks;
        let of_robot = |(name, robot): (&AccountName, &config::WebhookAccount)| {
            let charge = Charge {
                limit: None,
                client: fleet::fingerprint(robot.url.expose()),
                connections: 0,
                sends: !robot.paused,
            };
            (name.clone(), charge)
        };
        let charges = accounts.iter().map(charge);
        self.roster.set(charges.chain(robots.iter().map(of_robot)));
        self.served.set_robots(robots.keys().cloned());
        self.served.set(
            accounts
                .iter()
                .map(|(name, account)| (name.clone(), account.client_id.clone())),
        );
    }

    pub(super) fn start_account(&mut self, name: &AccountName) {
        if let Some(account) = self.config.accounts.get(name).cloned() {
            self.start_app(name, account);
        } else if let Some(robot) = self.config.webhooks.get(name).cloned() {
            self.start_robot(name, &robot);
        }
    }

    /// Starts a custom robot, which only sends.
    fn start_robot(&mut self, name: &AccountName, robot: &config::WebhookAccount) {
        let paused = robot.paused;
        self.health.account(name, |health| {
            health.paused = paused;
            health.sends_only = true;
            health.links.clear();
        });
        if paused {
            info!(dingtalk.account = %name, "account is paused");
            return;
        }
        let settings = outbound::Settings::from(robot);
        let robot = CustomRobot {
            url: robot.url.clone(),
            sign_secret: robot.secret.clone(),
        };
        let api = Api::custom_robot(
            self.http.clone(),
            &self.config.dingtalk,
            name.clone(),
            robot,
            self.metrics.clone(),
        );
        self.start_outbound(name, (Arc::new(api), settings), CancellationToken::new());
    }

    fn start_app(&mut self, name: &AccountName, account: config::Account) {
        let paused = account.paused;
        let connections = if paused { 0 } else { account.connections };
        self.health.account(name, |health| {
            health.paused = paused;
            health.sends_only = false;
            let down = |slot| (slot, LinkState::Down("starting".to_owned()));
            health.links = (0..connections).map(down).collect();
        });
        if paused {
            info!(dingtalk.account = %name, "account is paused");
            return;
        }
        let (Some(deliveries), Some(events)) = (&self.deliveries, &self.link_events) else {
            return;
        };
        let (deliveries, events) = (deliveries.clone(), events.clone());
        let stop = CancellationToken::new();
        let link = Link::new(LinkConfig {
            name: name.clone(),
            account: account.clone(),
            api_url: self.config.dingtalk.api_url.clone(),
            http: self.http.client().clone(),
            net: self.net.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            timings: LinkTimings::among(self.config.accounts.len()),
        });
        self.start_plain(
            Task::Link(name.clone()),
            link.run(deliveries, events, stop.clone()),
        );
        let api = Arc::new(Api::new(
            self.http.clone(),
            &self.config.dingtalk,
            name.clone(),
            &account,
            self.metrics.clone(),
        ));
        self.apis.set(name.clone(), Arc::clone(&api));
        let settings = outbound::Settings::from(&account);
        self.start_outbound(name, (api, settings), stop);
    }

    fn start_outbound(
        &mut self,
        name: &AccountName,
        (api, settings): (Arc<Api>, outbound::Settings),
        stop: CancellationToken,
    ) {
        let outbound = Outbound::new(outbound::Parts {
            account: name.clone(),
            api,
            fetcher: self.fetcher.clone(),
            settings,
            standings: self.standings.clone(),
            card_chats: self.card_chats.clone(),
            seats: self.seats.clone(),
            broker: self.broker.clone(),
            subjects: self.config.nats.subjects.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: self.outbound_timings(),
        });
        let token = stop.clone();
        self.start_plain(Task::Outbound(name.clone()), async move {
            outbound.run(token).await;
        });
        self.accounts.insert(name.clone(), stop);
    }

    pub(super) fn ended_unless_asked(&mut self, task: &Task) -> Outcome {
        let Some(account) = task.account() else {
            return Err(BridgeError::Task(format!("{task:?}")));
        };
        let asked = self
            .accounts
            .get(account)
            .is_none_or(CancellationToken::is_cancelled);
        if !asked {
            return Err(BridgeError::Task(format!("{task:?}")));
        }
        let account = account.clone();
        let gone = !self
            .alive
            .values()
            .any(|task| task.account() == Some(&account));
        if gone {
            self.accounts.remove(&account);
            self.apis.remove(&account);
            if self.config.serves(&account) {
                self.start_account(&account);
            } else {
                self.retire(account);
            }
        }
        Ok(())
    }

    /// Forgets an account that is configured no more; requests that wait for it end as unserved.
    pub(super) fn retire(&mut self, account: AccountName) {
        self.health.forget(&account);
        self.standings.forget(&account);
        self.http.paces().forget(&account);
        let broker = self.broker.clone();
        info!(dingtalk.account = %account, "account removed");
        self.start_plain(Task::Retirement, async move {
            if let Err(error) = broker.retire(&account).await {
                warn!(%error, dingtalk.account = %account, "consumer not deleted");
            }
        });
    }

    /// Follows a changed configuration account by account; an invalid one changes nothing.
    pub(super) fn reload(&mut self, reload: &Reload) {
        let config = reload
            .load()
            .and_then(|config| config.require_accounts().map(|()| config));
        let config = match config {
            Ok(config) => config,
            Err(problem) => {
                error!(error = %problem, "configuration refused, the bridge goes on with the one it has");
                return;
            }
        };
        let changes = config::diff(&self.config, &config);
        for key in &changes.restart {
            warn!(key, "changed: takes effect at the next start");
        }
        // Sections that need a restart stay as they are.
        self.config.accounts = config.accounts;
        self.config.webhooks = config.webhooks;
        self.serve();
        for change in &changes.accounts {
            match change {
                // One that was removed a moment ago may still be draining.
                AccountChange::Added(name) | AccountChange::Changed(name) => {
                    match self.accounts.get(name) {
                        // Its end starts it anew.
                        Some(stop) => stop.cancel(),
                        None => self.start_account(name),
                    }
                }
                AccountChange::Removed(name) => match self.accounts.get(name) {
                    Some(stop) => stop.cancel(),
                    None => self.retire(name.clone()),
                },
            }
        }
        info!(accounts = changes.accounts.len(), "configuration reloaded");
    }
}

pub(super) fn policies_of(config: &Config) -> BTreeMap<AccountName, Rules> {
    let rules = |(name, account): (&AccountName, &config::Account)| {
        let rules = Rules {
            policy: account.policy.clone(),
            media: account.media,
        };
        (name.clone(), rules)
    };
    config.accounts.iter().map(rules).collect()
}
