//! The media of one request: which pieces have to be uploaded, how far each one is, and the content
//! that names them in the end. Pure.

use crate::message::{Attachment, Content, MediaKind, MediaSource, Picture};

use super::piece::{Laid, Piece, Role, Stored};

/// The media of one request.
#[derive(Debug, Clone)]
pub(in crate::outbound) struct Freight {
    kind: MediaKind,
    attachment: Attachment,
    main: State,
    cover: State,
    /// Whether ids that DingTalk did not know were given up once.
    renewed: bool,
}

/// How far a piece is.
#[derive(Debug, Clone, Default)]
enum State {
    /// Its bytes are where the request says.
    #[default]
    Wanted,
    /// Its bytes are in the object store.
    Stored(Stored),
    /// DingTalk has it.
    Laid(Laid),
}

/// What is to be done for a piece.
#[derive(Debug, Clone, Copy)]
pub(in crate::outbound) enum Task<'a> {
    /// Find its bytes.
    Find(Piece<'a>),
    /// Bring it to DingTalk.
    Lay(Piece<'a>, &'a Stored),
}

/// What was done for a piece.
#[derive(Debug)]
pub(in crate::outbound) enum Done {
    /// Its bytes are in the object store.
    Stored(Role, Stored),
    /// DingTalk has it.
    Laid(Role, Laid),
}

impl Done {
    /// Whether DingTalk took an upload, which counts like a call.
    pub(in crate::outbound) fn is_upload(&self) -> bool {
        match self {
            Self::Stored(..) => false,
            Self::Laid(_, laid) => laid.uploaded,
        }
    }
}

impl Freight {
    /// The media of a content, unless it has none.
    pub(in crate::outbound) fn of(content: &Content) -> Option<Self> {
        match content {
            Content::Media(kind, attachment) => Some(Self {
                kind: *kind,
                attachment: attachment.clone(),
                main: State::Wanted,
                cover: State::Wanted,
                renewed: false,
            }),
            Content::Text(_)
            | Content::Markdown(_)
            | Content::Link(_)
            | Content::ActionCard(_)
            | Content::Card(_)
            | Content::Stream(_)
            | Content::Raw(_) => None,
        }
    }

    /// What is to be done next; nothing when DingTalk has everything.
    pub(in crate::outbound) fn task(&self) -> Option<Task<'_>> {
        [self.main_piece(), self.cover_piece()]
            .into_iter()
            .flatten()
            .find_map(|piece| match self.state(piece.role) {
                State::Wanted => Some(Task::Find(piece)),
                State::Stored(stored) => Some(Task::Lay(piece, stored)),
                State::Laid(_) => None,
            })
    }

    /// Notes what was done.
    pub(in crate::outbound) fn note(&mut self, done: Done) {
        match done {
            Done::Stored(role, stored) => *self.state_mut(role) = State::Stored(stored),
            Done::Laid(role, laid) => *self.state_mut(role) = State::Laid(laid),
        }
    }

    /// Gives up the ids that DingTalk does not know, once; the keys that the cache has them under.
    /// Nothing when they are the caller's own, or new.
    pub(in crate::outbound) fn renew(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.renewed, true) {
            return Vec::new();
        }
        let states = [&mut self.main, &mut self.cover].into_iter();
        let laid = states.filter(|state| matches!(state, State::Laid(_)));
        laid.filter_map(|state| match std::mem::take(state) {
            State::Laid(laid) => Some(laid.cached_as),
            State::Wanted | State::Stored(_) => None,
        })
        .collect()
    }

    /// The content by the ids that DingTalk gave.
    pub(in crate::outbound) fn content(&self) -> Content {
        let mut attachment = self.attachment.clone();
        if let State::Laid(laid) = &self.main {
            attachment = Attachment {
                media_id: Some(laid.media_id.clone()),
                name: Some(laid.name.clone()),
                duration_ms: attachment.duration_ms.or(laid.millis),
                cover: attachment.cover,
                ..Attachment::default()
            };
        }
        if let State::Laid(laid) = &self.cover {
            attachment.cover = Some(Picture {
                media_id: Some(laid.media_id.clone()),
                ..Picture::default()
            });
        }
        Content::Media(self.kind, attachment)
    }

    fn main_piece(&self) -> Option<Piece<'_>> {
        let untimed = self.attachment.duration_ms.is_none();
        let timed = match self.kind {
            MediaKind::Audio => untimed,
            // Without a cover it is sent as a file, which has no length (oapi.md, section 2.4).
            MediaKind::Video => untimed && self.attachment.cover.is_some(),
            MediaKind::Image | MediaKind::File => false,
        };
        wanted(Piece {
            kind: self.kind,
            source: self.attachment.source().ok()?,
            name: self.attachment.name.as_deref(),
            timed,
            role: Role::Main,
        })
    }

    fn cover_piece(&self) -> Option<Piece<'_>> {
        wanted(Piece {
            kind: MediaKind::Image,
            source: self.attachment.cover.as_ref()?.source().ok()?,
            name: None,
            timed: false,
            role: Role::Cover,
        })
    }

    fn state(&self, role: Role) -> &State {
        match role {
            Role::Main => &self.main,
            Role::Cover => &self.cover,
        }
    }

    fn state_mut(&mut self, role: Role) -> &mut State {
        match role {
            Role::Main => &mut self.main,
            Role::Cover => &mut self.cover,
        }
    }
}

/// A piece, unless DingTalk has it already.
fn wanted(piece: Piece<'_>) -> Option<Piece<'_>> {
    match piece.source {
        MediaSource::MediaId(_) => None,
        MediaSource::Object(_) | MediaSource::Url(_) => Some(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freight(kind: MediaKind, json: &str) -> Freight {
        let attachment = serde_json::from_str(json).unwrap();
        Freight::of(&Content::Media(kind, attachment)).unwrap()
    }

    fn laid(id: &str) -> Laid {
        Laid {
            media_id: id.into(),
            name: "a.mp4".into(),
            millis: Some(4000),
            cached_as: format!("key of {id}"),
            uploaded: true,
        }
    }

    #[test]
    fn a_video_and_its_cover_are_laid_one_after_the_other() {
        let mut video = freight(MediaKind::Video, r#"{"object":"v","cover":{"object":"c"}}"#);
        let Some(Task::Find(piece)) = video.task() else {
            panic!("nothing to find");
        };
        assert!(piece.timed && piece.role == Role::Main);
        video.note(Done::Laid(Role::Main, laid("@v")));
        let Some(Task::Find(piece)) = video.task() else {
            panic!("no cover to find");
        };
        assert_eq!((piece.role, piece.kind), (Role::Cover, MediaKind::Image));
        video.note(Done::Laid(Role::Cover, laid("@c")));
        assert!(video.task().is_none());
        let Content::Media(_, sent) = video.content() else {
            panic!("no media");
        };
        assert_eq!(sent.media_id.as_deref(), Some("@v"));
        assert_eq!(sent.duration_ms, Some(4000));
        assert_eq!(sent.cover.unwrap().media_id.as_deref(), Some("@c"));
        assert!(sent.object.is_none());
    }

    #[test]
    fn what_dingtalk_has_is_not_uploaded_and_its_id_is_not_renewed() {
        let mut file = freight(MediaKind::File, r#"{"media_id":"@a","name":"a.pdf"}"#);
        assert!(file.task().is_none());
        assert!(file.renew().is_empty());
        assert_eq!(
            file.content(),
            Content::Media(MediaKind::File, file.attachment.clone())
        );
    }

    #[test]
    fn an_unknown_id_is_renewed_once() {
        let mut image = freight(MediaKind::Image, r#"{"object":"a"}"#);
        image.note(Done::Laid(Role::Main, laid("@old")));
        assert_eq!(image.renew(), ["key of @old"]);
        assert!(matches!(image.task(), Some(Task::Find(_))));
        image.note(Done::Laid(Role::Main, laid("@new")));
        assert!(image.renew().is_empty(), "once");
        assert!(image.task().is_none());
    }

    #[test]
    fn a_length_is_read_only_where_it_is_sent_and_not_given() {
        for (kind, json, timed) in [
            (MediaKind::Audio, r#"{"object":"a"}"#, true),
            (MediaKind::Audio, r#"{"object":"a","duration_ms":7}"#, false),
            (MediaKind::Video, r#"{"object":"a"}"#, false),
            (MediaKind::File, r#"{"object":"a"}"#, false),
        ] {
            let freight = freight(kind, json);
            let Some(Task::Find(piece)) = freight.task() else {
                panic!("nothing to find");
            };
            assert_eq!(piece.timed, timed, "{json}");
        }
    }
}
