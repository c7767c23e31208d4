//! The card templates that exist: which variables each one has, and which of them take markdown.

/// One variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardKey {
    /// Name, as `key` of a streaming call has it.
    pub name: String,
    /// Whether it shows markdown; then only full content can be streamed into it.
    pub markdown: bool,
}

/// A published template of the card platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardTemplate {
    /// `cardTemplateId`.
    pub id: String,
    /// The variables that can be streamed.
    pub keys: Vec<CardKey>,
    /// Whether it belongs to another organisation: every call succeeds and people see that it does
    /// not load (oapi.md, section 6.6).
    pub foreign: bool,
}

impl CardTemplate {
    /// A template without variables.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            keys: Vec::new(),
            foreign: false,
        }
    }

    /// Has one more variable, which shows markdown.
    #[must_use]
    pub fn with_markdown(self, name: impl Into<String>) -> Self {
        self.with_key(name.into(), true)
    }

    /// Has one more variable, which shows plain text.
    #[must_use]
    pub fn with_text(self, name: impl Into<String>) -> Self {
        self.with_key(name.into(), false)
    }

    /// Belongs to another organisation.
    #[must_use]
    pub fn of_another_org(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// The templates that every organisation can use (oapi.md, section 6.6).
    pub fn shared() -> Vec<Self> {
        let blank = |id: &str| Self::new(format!("{id}.schema"));
        vec![
            blank("02fcf2f4-5e02-4a85-b672-46d1f715543e").with_markdown("msgContent"),
            blank("382e4302-551d-4880-bf29-a30acfab2e71")
                .with_markdown("msgContent")
                .with_markdown("staticMsgContent")
                .with_text("msgTitle")
                .with_text("title")
                .with_text("logo"),
            blank("589420e2-c1e2-46ef-a5ed-b8728e654da9")
                .with_markdown("markdown")
                .with_text("title")
                .with_text("logo"),
            blank("1366a1eb-bc54-4859-ac88-517c56a9acb1")
                .with_markdown("markdown")
                .with_text("tips")
                .with_text("title")
                .with_text("logo"),
            blank("675cde2f-f526-40cb-b828-f5b2b57b8b77")
                .with_markdown("content")
                .with_text("blockList")
                .with_text("copy_content"),
            blank("c2a6355b-9724-4f7e-9653-d33fcb3311bb"),
            blank("7f538f6d-ebb7-4533-a9ac-61a32da094cf"),
            blank("8aebdfb9-28f4-4a98-98f5-396c3dde41a0").with_markdown("content"),
        ]
    }

    fn with_key(mut self, name: String, markdown: bool) -> Self {
        self.keys.push(CardKey { name, markdown });
        self
    }

    pub(super) fn key(&self, name: &str) -> Option<&CardKey> {
        self.keys.iter().find(|key| key.name == name)
    }
}
