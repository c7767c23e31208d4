//! `permissions`: users for the broker that may do what their role needs and nothing else. It knows the
//! form of a nats-server configuration, and no right.

use std::fmt::Write;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::exit::Failure;
use super::print;
use super::settings::BrokerArgs;
use crate::broker::{Reach, Rights, Role, rights};
use crate::config;
use crate::message::{AccountName, Kind, Target, Verb};

/// Print NATS users with the least permissions for a role
///
/// The output is a block of a nats-server configuration: include it, and set each password in the environment of
/// the server (bcrypt hashes are taken as well). Leave out the roles that are not needed with --role.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk permissions --account sales > dingtalk-users.conf\n  \
    nats-dingtalk permissions --role consumer --role sender --account sales --chat group:cid6KeB+/oA==")]
pub(super) struct PermissionsArgs {
    /// Only these roles [default: all four]
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Vec<RoleName>,
    /// Account that consumers read and senders speak as
    #[arg(short, long, value_parser = |text: &str| AccountName::parse(text))]
    account: Option<AccountName>,
    /// Only this chat, for consumers and senders: user:STAFF_ID or group:OPEN_CONVERSATION_ID; repeatable
    #[arg(long, value_name = "TARGET", value_parser = chat)]
    chat: Vec<(Kind, String)>,
    /// Consumers may also fetch media and large bodies, senders put media: of every account, NATS cannot tell them apart
    #[arg(long)]
    objects: bool,
    /// Verb that consumers and senders may ask, such as `chat`: of every account; repeatable
    #[arg(long, value_name = "VERB", value_parser = verb)]
    verb: Vec<Verb>,
    /// Name of the user; with one role only [default: the role, behind the account where there is one]
    #[arg(long, value_parser = |text: &str| AccountName::parse(text))]
    name: Option<AccountName>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Role as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Reads what one account, or some of its chats, delivers
    Consumer,
    /// Sends as one account, to all or some of its chats, and sees its receipts
    Sender,
    /// Reads everything but secrets, replays, fetches media
    Operator,
    /// The bridge itself
    Bridge,
}

impl RoleName {
    const ALL: [Self; 4] = [Self::Bridge, Self::Consumer, Self::Sender, Self::Operator];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Sender => "sender",
            Self::Operator => "operator",
            Self::Bridge => "bridge",
        }
    }
}

fn chat(text: &str) -> Result<(Kind, String), String> {
    let refused =
        || format!("`{text}` is no chat; write user:<staffId> or group:<openConversationId>");
    let target: Target = serde_json::from_value(text.into()).map_err(|_| refused())?;
    target.check().map_err(|error| error.to_string())?;
    let (kind, id) = target.address().ok_or_else(refused)?;
    Ok((kind, id.into_owned()))
}

fn verb(text: &str) -> Result<Verb, String> {
    let names = || Verb::ALL.map(Verb::as_str).join(", ");
    let mut all = Verb::ALL.into_iter();
    let found = all.find(|verb| verb.as_str() == text);
    found.ok_or_else(|| format!("there is no verb `{text}`, only {}", names()))
}

/// Prints the block.
pub(super) fn execute(args: &PermissionsArgs) -> Result<(), Failure> {
    let nats = args.broker.load_quietly()?.nats;
    let roles = match args.role.as_slice() {
        [] => RoleName::ALL.to_vec(),
        some => some.to_vec(),
    };
    if args.name.is_some() && roles.len() != 1 {
        return Err(Failure::Usage(anyhow!("--name goes with one --role")));
    }
    let users = roles.into_iter().map(|role| user(args, &nats, role));
    let users: Vec<String> = users.collect::<Result<_, Failure>>()?;
    print::line(&format!(
        "authorization {{\n  users: [\n{}  ]\n}}",
        users.concat()
    ))
}

fn user(args: &PermissionsArgs, nats: &config::Nats, role: RoleName) -> Result<String, Failure> {
    let (name, role) = match (role, &args.account) {
        (RoleName::Operator, _) => ("operator".to_owned(), Role::Operator),
        (RoleName::Bridge, _) => ("bridge".to_owned(), Role::Bridge),
        (RoleName::Consumer | RoleName::Sender, None) => {
            return Err(Failure::Usage(anyhow!(
                "a {} belongs to an account; name it with --account",
                role.as_str()
            )));
        }
        (RoleName::Consumer | RoleName::Sender, Some(account)) => {
            let reach = Reach {
                account: account.clone(),
                chats: args.chat.clone(),
                objects: args.objects,
                verbs: args.verb.clone(),
            };
            let name = format!("{account}-{}", role.as_str());
            let role = match role == RoleName::Sender {
                true => Role::Sender(reach),
                false => Role::Consumer(reach),
            };
            (name, role)
        }
    };
    let name = args.name.as_ref().map_or(name, ToString::to_string);
    Ok(block(&name, &rights(nats, &name, &role)))
}

/// One user as nats-server reads it.
fn block(name: &str, rights: &Rights) -> String {
    let mut text = format!("    # inboxes: _INBOX_{name}\n");
    for (consumer, filter) in &rights.consumers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    # consumer: {consumer}, filter: {filter}");
    }
    let password = format!("{}_PASSWORD", name.to_ascii_uppercase().replace('-', "_"));
    let _ = writeln!(
        text,
        "    {{\n      user: {name:?}, password: ${password}\n      permissions: {{"
    );
    let _ = writeln!(
        text,
        "        publish: {{ allow: [\n{}        ] }}",
        lines(&rights.publish)
    );
    let _ = writeln!(
        text,
        "        subscribe: {{ allow: [\n{}        ] }}",
        lines(&rights.subscribe)
    );
    if rights.answers {
        text.push_str("        allow_responses: { max: 1, expires: \"1m\" }\n");
    }
    text.push_str("      }\n    }\n");
    text
}

/// Subjects hold no quote, backslash or control character: ids in them are percent-encoded.
fn lines(subjects: &[String]) -> String {
    let line = |subject: &String| format!("          \"{subject}\"\n");
    subjects.iter().map(line).collect()
}
