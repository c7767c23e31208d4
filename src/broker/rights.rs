//! What a user of the broker may do, by role: the least that does the job, as NATS can enforce it
//! (docs/permissions.md). It grants nothing itself.

use super::media;
use super::objects;
use super::streams;
use crate::config;
use crate::message::{AccountName, Kind, Verb, encode_token};

/// Where JetStream's API listens.
const API: &str = "$JS.API";
/// Where the server tells a user what it may do, and nobody anything else.
pub(super) const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// What somebody is to the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Reads what one account, or some of its chats, delivers.
    Consumer(Reach),
    /// Sends as one account, to all or some of its chats, and sees the receipts of the account.
    Sender(Reach),
    /// Reads everything but session webhooks and the ledger, changes nothing.
    Operator,
    /// The bridge itself.
    Bridge,
}

/// How far a consumer or sender reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Account.
    pub account: AccountName,
    /// Its chats, by kind and exact id; empty: all of them.
    pub chats: Vec<(Kind, String)>,
    /// Whether it fetches, or puts, what is too large for a message: media and large bodies. Nothing in
    /// their subjects names a chat, so this is those of every account.
    pub objects: bool,
    /// Questions that it may ask, of every account.
    pub verbs: Vec<Verb>,
}

/// Subjects that a user may publish to and subscribe to; everything else is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// May publish to.
    pub publish: Vec<String>,
    /// May subscribe to.
    pub subscribe: Vec<String>,
    /// Durable consumers that are the user's own, each with the only filter that it may have.
    pub consumers: Vec<(String, String)>,
    /// Whether it may answer requests.
    pub answers: bool,
}

/// What a user called `name` in `role` may do. Its inboxes begin with `_INBOX_<name>`.
pub fn rights(nats: &config::Nats, name: &str, role: &Role) -> Rights {
    let mut plot = Plot {
        nats,
        rights: Rights {
            subscribe: vec![format!("_INBOX_{name}.>")],
            ..Rights::default()
        },
    };
    match role {
        Role::Consumer(reach) => plot.consumer(name, reach),
        Role::Sender(reach) => plot.sender(name, reach),
        Role::Operator => plot.operator(),
        Role::Bridge => plot.bridge(),
    }
    plot.rights
}

/// Rights as they grow.
struct Plot<'a> {
    nats: &'a config::Nats,
    rights: Rights,
}

impl Plot<'_> {
    fn stream(&self, what: &str) -> String {
        format!("{}_{what}", self.nats.stream_prefix)
    }

    fn publish(&mut self, subject: impl Into<String>) {
        self.rights.publish.push(subject.into());
    }

    /// `$JS.API.<call>`.
    fn api(&mut self, call: &str) {
        self.publish(format!("{API}.{call}"));
    }

    /// A consumer of the user's own: the server compares the filter at the end of the subject with the
    /// one that is asked for, so no other can be chosen.
    fn own_consumer(&mut self, stream: &str, name: &str, filter: &str) {
        self.api(&format!("CONSUMER.CREATE.{stream}.{name}.{filter}"));
        self.api(&format!("CONSUMER.INFO.{stream}.{name}"));
        self.api(&format!("CONSUMER.MSG.NEXT.{stream}.{name}"));
        self.publish(format!("$JS.ACK.{stream}.{name}.>"));
        let own = (name.to_owned(), filter.to_owned());
        self.rights.consumers.push(own);
    }

    fn consumer(&mut self, name: &str, reach: &Reach) {
        let stream = self.stream("INBOUND");
        let branch = self.nats.subjects.branch("inbound");
        let account = &reach.account;
        match reach.chats.as_slice() {
            [] => self.own_consumer(&stream, name, &format!("{branch}.{account}.>")),
            chats => {
                for (at, chat) in (1..).zip(chats) {
                    let filter = format!("{branch}.{account}.{}", token(chat));
                    self.own_consumer(&stream, &format!("{name}-{at}"), &filter);
                }
            }
        }
        if reach.objects {
            self.fetcher();
        }
        self.asker(&reach.verbs);
    }

    /// Reads both object stores.
    fn fetcher(&mut self) {
        for what in [media::BUCKET, objects::BUCKET] {
            let stream = format!("OBJ_{}", self.stream(what));
            self.reader(&stream);
            self.publish(format!("$JS.FC.{stream}.>"));
        }
    }

    /// Puts media into the store, under keys of its own: what is replaced is purged by the bridge alone.
    fn putter(&mut self) {
        let bucket = self.stream(media::BUCKET);
        self.api(&format!("STREAM.INFO.OBJ_{bucket}"));
        for part in ["C", "M"] {
            self.publish(format!("$O.{bucket}.{part}.*"));
        }
        self.api(&format!("DIRECT.GET.OBJ_{bucket}.$O.{bucket}.M.*"));
    }

    fn asker(&mut self, verbs: &[Verb]) {
        let branch = self.nats.subjects.branch("api");
        for verb in verbs {
            self.publish(format!("{branch}.{}", verb.as_str()));
        }
    }

    fn sender(&mut self, name: &str, reach: &Reach) {
        let account = &reach.account;
        let branch = format!("{}.{account}", self.nats.subjects.branch("outbound"));
        match reach.chats.as_slice() {
            [] => {
                self.publish(branch.clone());
                self.publish(format!("{branch}.*.*"));
            }
            chats => {
                for chat in chats {
                    self.publish(format!("{branch}.{}", token(chat)));
                }
            }
        }
        let receipts = format!("{}.{account}.*", self.nats.subjects.branch("receipt"));
        let stream = self.stream("RECEIPT");
        self.own_consumer(&stream, &format!("{name}-receipts"), &receipts);
        self.api(&format!("DIRECT.GET.{stream}.{receipts}"));
        self.rights.subscribe.push(receipts);
        if reach.objects {
            self.putter();
        }
        self.asker(&reach.verbs);
    }

    fn operator(&mut self) {
        for call in ["INFO", "STREAM.NAMES", "STREAM.LIST"] {
            self.api(call);
        }
        for what in ["INBOUND", "GATED", "RECEIPT", "DEAD", "STATUS", "ADVISORY"] {
            self.reader(&self.stream(what));
        }
        self.fetcher();
        // A consumer of these would take requests away from the bridge.
        for what in ["OUTBOUND", "BACKLOG", "SCHEDULE"] {
            self.looker(&self.stream(what));
        }
        self.rights
            .subscribe
            .push(self.nats.subjects.all("inbound"));
        self.rights
            .subscribe
            .push(self.nats.subjects.all("receipt"));
        self.rights.subscribe.push(self.nats.subjects.all("dead"));
        self.rights.subscribe.push(self.nats.subjects.all("status"));
    }

    /// Looks at a stream and its messages.
    fn looker(&mut self, stream: &str) {
        for call in [
            "STREAM.INFO.{}",
            "STREAM.MSG.GET.{}",
            "DIRECT.GET.{}",
            "DIRECT.GET.{}.>",
            "CONSUMER.LIST.{}",
            "CONSUMER.NAMES.{}",
            "CONSUMER.INFO.{}.*",
        ] {
            self.api(&call.replace("{}", stream));
        }
    }

    /// Replays a stream from anywhere.
    fn reader(&mut self, stream: &str) {
        self.looker(stream);
        for call in [
            "CONSUMER.CREATE.{}",
            "CONSUMER.CREATE.{}.>",
            "CONSUMER.MSG.NEXT.{}.*",
            "CONSUMER.DELETE.{}.*",
        ] {
            self.api(&call.replace("{}", stream));
        }
        self.publish(format!("$JS.ACK.{stream}.>"));
    }

    /// One rule for every stream that the bridge creates, so that a new one is in it at once.
    fn bridge(&mut self) {
        self.publish(USER_INFO);
        for call in ["INFO", "STREAM.NAMES"] {
            self.api(call);
        }
        for plan in streams::plans_of(self.nats) {
            let stream = plan.config.name;
            self.api(&format!("STREAM.CREATE.{stream}"));
            self.reader(&stream);
            if stream.starts_with("OBJ_") {
                self.api(&format!("STREAM.PURGE.{stream}"));
                self.publish(format!("$JS.FC.{stream}.>"));
            }
            // Advisories are the server's own to publish.
            let own = |subject: &&String| !subject.starts_with("$JS.");
            for subject in plan.config.subjects.iter().filter(own) {
                self.publish(subject.clone());
            }
        }
        let queue = self.stream("OUTBOUND");
        for what in ["OUTBOUND", "BACKLOG", "SCHEDULE"] {
            self.api(&format!("STREAM.MSG.DELETE.{}", self.stream(what)));
        }
        self.api(&format!("CONSUMER.UNPIN.{queue}.*"));
        self.rights
            .subscribe
            .push(self.nats.subjects.all("receipt"));
        self.rights.subscribe.push(self.nats.subjects.all("api"));
        // Whoever says what a press on a card changes.
        let responders = format!("{}.card.*", self.nats.subjects.branch("api"));
        self.publish(responders);
        self.rights.subscribe.push("$SRV.>".to_owned());
        self.rights.answers = true;
    }
}

/// Kind and id as they stand in subjects.
fn token((kind, id): &(Kind, String)) -> String {
    format!("{kind}.{}", encode_token(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::connection::tests::section;

    fn of(role: &Role) -> Rights {
        let nats = section(config::NatsAuth::None, config::NatsTls::default());
        rights(&nats, "agent", role)
    }

    fn sales(chats: &[(Kind, &str)]) -> Reach {
        Reach {
            account: AccountName::parse("sales").unwrap(),
            chats: chats
                .iter()
                .map(|(kind, id)| (*kind, (*id).to_owned()))
                .collect(),
            objects: false,
            verbs: Vec::new(),
        }
    }

    #[test]
    fn nobody_may_remove_a_stream_and_only_the_bridge_reads_webhooks() {
        let roles = [
            Role::Consumer(sales(&[])),
            Role::Sender(sales(&[])),
            Role::Operator,
            Role::Bridge,
        ];
        for role in &roles {
            let rights = of(role);
            for refused in ["STREAM.DELETE", "STREAM.UPDATE", "STREAM.>", "API.>"] {
                assert!(!rights.publish.iter().any(|right| right.contains(refused)));
            }
            let secret = rights
                .publish
                .iter()
                .any(|right| right.contains("WEBHOOKS"));
            assert_eq!(secret, *role == Role::Bridge, "{role:?}");
        }
    }

    #[test]
    fn an_id_cannot_widen_a_right() {
        let chats = [(Kind::User, "a.>"), (Kind::Group, "*")];
        for role in [Role::Consumer(sales(&chats)), Role::Sender(sales(&chats))] {
            let rights = of(&role);
            let all = rights.publish.join("\n");
            assert!(
                all.contains("user.a%2E%3E") && all.contains("group.%2A"),
                "{all}"
            );
        }
    }
}
