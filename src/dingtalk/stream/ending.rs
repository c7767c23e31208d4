//! How a connection ends, and what asks for it to be replaced before that.

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::refusal;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// DingTalk closed it; says with which code and reason.
    Closed(String),
    /// It broke; says how.
    Lost(String),
    /// Two pings went without any sign of life.
    Silent,
    /// A frame was larger than what is taken.
    TooLarge(String),
    /// It was replaced, or the link stops.
    Let,
    /// Nobody takes deliveries any more.
    Deaf,
}

/// Why a connection should be replaced while it still works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cue {
    /// DingTalk announced that it will close it; says why.
    Disconnect(String),
    /// A ping was missed.
    Suspect,
    /// The machine slept.
    Slept,
}

impl End {
    /// After a read that failed.
    pub(super) fn of_read(error: &tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Capacity(error) => Self::TooLarge(error.to_string()),
            other => Self::Lost(refusal::chain(other)),
        }
    }

    /// After DingTalk's goodbye.
    pub(super) fn of_goodbye(frame: Option<CloseFrame>) -> Self {
        let Some(frame) = frame else {
            return Self::Closed("no code".to_owned());
        };
        let code = u16::from(frame.code);
        Self::Closed(match frame.reason.is_empty() {
            true => format!("code {code}"),
            false => format!("code {code}: {}", refusal::excerpt(&frame.reason)),
        })
    }

    /// For people.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Closed(why) => format!("closed by DingTalk ({why})"),
            Self::Lost(why) => format!("connection lost ({why})"),
            Self::Silent => "no answer to two pings".to_owned(),
            Self::TooLarge(why) => format!("a frame was too large ({why})"),
            Self::Let => "let go".to_owned(),
            Self::Deaf => "nobody takes deliveries any more".to_owned(),
        }
    }
}

impl Cue {
    /// For people.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Disconnect(why) => format!("DingTalk announced a disconnect ({why})"),
            Self::Suspect => "a ping was not answered".to_owned(),
            Self::Slept => "the clock jumped".to_owned(),
        }
    }
}
