//! A chat by name in one text: `group:<openConversationId>` or `user:<staffId>`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::outbound::RequestError;
use super::subject::Kind;
use super::target::Target;

/// A chat; what is written after the colon is its exact id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRef {
    /// [`Kind::Group`] or [`Kind::User`].
    pub kind: Kind,
    /// Exact id.
    pub id: String,
}

impl ChatRef {
    /// Refuses ids of the wrong shape.
    ///
    /// # Errors
    /// [`RequestError::Target`] that says what to write instead.
    pub fn check(&self) -> Result<(), RequestError> {
        match self.kind {
            Kind::Group => Target::Group(self.id.clone()).check(),
            Kind::User | Kind::Card | Kind::Event | Kind::Other => {
                Target::User(self.id.clone()).check()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ChatRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, id) = match text.split_once(':') {
            Some(("group", id)) => (Kind::Group, id),
            Some(("user", id)) => (Kind::User, id),
            _ => {
                let expected = &r#""group:<openConversationId>" or "user:<staffId>""#;
                return Err(de::Error::invalid_value(
                    de::Unexpected::Str(&text),
                    expected,
                ));
            }
        };
        let id = id.to_owned();
        Ok(Self { kind, id })
    }
}

impl Serialize for ChatRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.kind, self.id))
    }
}

impl JsonSchema for ChatRef {
    fn schema_name() -> Cow<'static, str> {
        "ChatRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`group:<openConversationId>` or `user:<staffId>`",
            "type": "string",
            "pattern": "^(group|user):.+",
        })
    }
}
