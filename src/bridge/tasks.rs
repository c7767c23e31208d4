//! Every task of the bridge by name, and what its end means. It spawns nothing.

use tokio::task::{self, JoinError};

use super::BridgeError;
use crate::message::AccountName;

/// Every task of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Server,
    Admin,
    BrokerWatch,
    Streams,
    Retirement,
    ConfigWatch,
    Inbound,
    Sessions,
    Media,
    LinkStatus,
    Mover,
    Strays,
    Verbs,
    Fleet,
    Link(AccountName),
    Outbound(AccountName),
}

impl Task {
    /// The account that the task belongs to.
    pub(super) fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Link(account) | Self::Outbound(account) => Some(account),
            Self::Server
            | Self::Admin
            | Self::BrokerWatch
            | Self::Streams
            | Self::Retirement
            | Self::ConfigWatch
            | Self::Inbound
            | Self::Sessions
            | Self::Media
            | Self::LinkStatus
            | Self::Mover
            | Self::Strays
            | Self::Verbs
            | Self::Fleet => None,
        }
    }

    /// Whether the task serves the others until the very end of a stop.
    pub(super) fn outlives_the_flow(&self) -> bool {
        matches!(
            self,
            Self::Server | Self::Admin | Self::BrokerWatch | Self::ConfigWatch | Self::Fleet
        )
    }
}

pub(super) type Outcome = Result<(), BridgeError>;
pub(super) type Joined = Result<(task::Id, Outcome), JoinError>;
