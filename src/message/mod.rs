//! The bridge's language: ids, subjects, inbound messages, outbound requests, receipts.
//!
//! Pure values without I/O. Every other module may import this one; it imports none of them.

mod asyncapi;
mod attachment;
mod card;
mod dead;
pub mod header;
mod ids;
mod inbound;
mod outbound;
mod quota;
mod receipt;
mod schema;
mod secret;
mod session;
mod subject;
mod target;
mod timestamp;

pub use asyncapi::asyncapi;
pub use attachment::{Attachment, MediaSource, Picture};
pub use card::{
    CardCreate, CardEnd, CardParams, CardReply, CardRequest, CardStep, CardStream, CardUpdate,
    MAX_OUT_TRACK_ID, StreamPiece, param_strings,
};
pub use dead::{DeadLetter, DeadReason};
pub use ids::{AccountName, IdError, RequestId};
pub use inbound::{
    CardAction, Chat, ChatType, Inbound, Media, MediaKind, Mention, MessageBody, Notice, Quoted,
    Reply, Sender,
};
pub use outbound::{
    ActionButton, ActionCard, Content, Layout, Link, Markdown, Mentions, Priority, RawMessage,
    Request, RequestError, Via,
};
pub use quota::{Brake, QuotaStanding};
pub use receipt::{Outcome, Part, Receipt};
pub use schema::schemas;
pub use secret::Secret;
pub use session::SessionEntry;
pub use subject::{
    Direction, Kind, OutboundAddress, SubjectError, Subjects, decode_token, encode_token,
};
pub use target::Target;
pub use timestamp::Timestamp;
