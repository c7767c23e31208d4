//! The bridge's language: ids, subjects, inbound messages, outbound requests, receipts.
//!
//! Pure values without I/O. Every other module may import this one; it imports none of them.

mod asyncapi;
mod attachment;
mod binding;
mod card;
mod chat_ref;
mod dead;
pub mod header;
mod ids;
mod inbound;
mod naming;
mod outbound;
mod prefix;
mod quota;
mod receipt;
mod schema;
mod secret;
mod session;
mod status;
mod subject;
mod target;
mod timestamp;
mod verb;
mod verb_schema;

pub use asyncapi::asyncapi;
pub use attachment::{Attachment, MediaSource, Picture};
pub use binding::{Binding, BoundChat, BoundKind};
pub use card::{
    CardCreate, CardEnd, CardParams, CardReply, CardRequest, CardStep, CardStream, CardUpdate,
    MAX_OUT_TRACK_ID, StreamPiece, param_strings,
};
pub use chat_ref::ChatRef;
pub use dead::{DeadLetter, DeadReason};
pub use ids::{AccountName, IdError, RequestId};
pub use inbound::{
    CardAction, Chat, ChatType, Inbound, Media, MediaKind, Mention, MessageBody, Notice, Quoted,
    Reply, Sender,
};
pub use naming::{file_name, media_type};
pub use outbound::{
    ActionButton, ActionCard, Content, Layout, Link, Markdown, Mentions, Priority, RawMessage,
    Request, RequestError, Via,
};
pub(crate) use prefix::prefix;
pub use quota::{Brake, QuotaStanding};
pub use receipt::{Outcome, Part, Receipt};
pub use schema::schemas;
pub use secret::Secret;
pub use session::SessionEntry;
pub use status::{
    ForeignSign, ForeignStatus, LinkStanding, LinkStatus, MediaReason, MediaState, MediaStatus,
    QuotaStatus, Status,
};
pub use subject::{
    Direction, Kind, OutboundAddress, SubjectError, Subjects, decode_token, encode_token,
};
pub use target::Target;
pub(crate) use target::{SUBJECT_USERS, USER_SEPARATOR, distinct};
pub use timestamp::Timestamp;
pub use verb::{
    BindQuestion, BindingAnswer, CancelQuestion, ChatAnswer, ChatQuestion, MediaAnswer,
    MediaQuestion, MessageRead, PersonAnswer, PersonQuestion, ReactionAnswer, ReactionQuestion,
    ReadStatusAnswer, RecallAnswer, SentQuestion, SessionQuestion, Verb, VerbFailure,
};
pub use verb_schema::{MAX_TIMEOUT_MS, TIMEOUT_MS};
