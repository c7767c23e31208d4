//! Tolerant reading of JSON objects: one pass over the members, each value read as what is wanted
//! or not at all.
//!
//! DingTalk sends numbers as strings, strings as numbers, missing, doubled and misspelt members
//! (stream-protocol.md, section 3); a derived decoder would refuse the whole object for one of them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

/// The members of a JSON object in order, values unread.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads the members of the object in `text`; `None` when it is not one JSON object.
    pub fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name`, the last one when it stands twice; `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rfind(|(key, _)| key == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The value of `name` compared without regard to case, `_` or `-`.
    pub fn value_loose(&self, name: &str) -> Option<&'a RawValue> {
        self.value(name).or_else(|| {
            let same = |key: &str| {
                let plain = |text: &str| -> String {
                    let kept = text.chars().filter(|c| !matches!(c, '_' | '-'));
                    kept.flat_map(char::to_lowercase).collect()
                };
                plain(key) == plain(name)
            };
            let (_, value) = self.0.iter().rfind(|(key, _)| same(key))?;
            (value.get() != "null").then_some(*value)
        })
    }

    /// Text of a string, number or boolean; `None` for anything else.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.value(name)?)
    }

    /// The same, `None` when empty.
    pub fn filled(&self, name: &str) -> Option<Cow<'a, str>> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// An integer, written as a number or as a string of digits.
    pub fn integer(&self, name: &str) -> Option<i64> {
        integer(self.value(name)?)
    }

    /// A boolean, written as such, as a string, or as 0 and 1.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        boolean(self.value(name)?)
    }

    /// The members of an object.
    pub fn object(&self, name: &str) -> Option<Members<'a>> {
        Members::read(self.value(name)?.get())
    }

    /// The elements of an array.
    pub fn array(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        elements(self.value(name)?.get())
    }

    /// All members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

/// Text of a JSON string, number or boolean; a string without escapes is borrowed.
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'"' => {
            let inner = json.get(1..json.len().checked_sub(1)?)?;
            if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
                return Some(Cow::Borrowed(inner));
            }
            let plain = unescaped(inner);
            plain
                .or_else(|| serde_json::from_str(json).ok())
                .map(Cow::Owned)
        }
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// What stands in a JSON string, its escapes taken off; `None` for one with surrogates, which the library reads. The `data` of a
/// frame is a text with hundreds of them, for which the library grows its buffer step by step.
fn unescaped(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(rest.get(..at)?);
        let escape = rest.get(at + 1..)?;
        let (char, length) = match escape.as_bytes().first()? {
            b'"' => ('"', 1),
            b'\\' => ('\\', 1),
            b'/' => ('/', 1),
            b'n' => ('\n', 1),
            b't' => ('\t', 1),
            b'r' => ('\r', 1),
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'u' => {
                let code = u32::from_str_radix(escape.get(1..5)?, 16).ok()?;
                (char::from_u32(code)?, 5)
            }
            _ => return None,
        };
        text.push(char);
        rest = escape.get(length..)?;
    }
    text.push_str(rest);
    Some(text)
}

/// An integer, written as a number or as a string of digits.
pub fn integer(value: &RawValue) -> Option<i64> {
    let text = text(value)?;
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        // A fraction of a unit is noise; the cast saturates.
        number.is_finite().then_some(number as i64)
    })
}

/// A boolean, written as such, as a string, or as 0 and 1.
pub fn boolean(value: &RawValue) -> Option<bool> {
    match text(value)?.as_ref() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The elements of the array in `json`; `None` when it is no array.
pub fn elements(json: &str) -> Option<Vec<&RawValue>> {
    struct Elements;
    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = seq.next_element()? {
                all.push(element);
            }
            Ok(all)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let all = deserializer.deserialize_seq(Elements).ok()?;
    deserializer.end().ok()?;
    Some(all)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::with_capacity(24);
                while let Some(Key(key)) = map.next_key()? {
                    all.push((key, map.next_value()?));
                }
                Ok(Members(all))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Err(de::Error::invalid_type(de::Unexpected::Seq, &self))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member name, borrowed unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of a JSON string, among them all escapes and halves of surrogate pairs.
    fn pieces() -> impl Strategy<Value = String> {
        let escape = prop::sample::select(vec![
            r#"\""#,
            r"\\",
            r"\/",
            r"\n",
            r"\t",
            r"\r",
            r"\b",
            r"\f",
            r"\u0041",
            r"\u9489",
            r"\u0000",
            r"\ud83d\ude00",
            r"\ud83d",
            r"\ude00",
            r"\x",
            r"\u12",
            r"\u+123",
        ]);
        let plain = "[^\"\\\\\\x00-\\x1f]{0,12}";
        prop::collection::vec(prop_oneof![escape.prop_map(str::to_owned), plain], 0..12)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_string_reads_as_the_library_reads_it(inner in pieces()) {
            let json = format!("\"{inner}\"");
            let read = serde_json::from_str::<&RawValue>(&json).ok().and_then(text);
            let expected: Option<String> = serde_json::from_str(&json).ok();
            prop_assert_eq!(read.as_deref(), expected.as_deref());
        }
    }

    #[test]
    fn values_are_read_as_what_is_wanted() {
        let members = Members::read(
            r#"{"s":"a\"b","n":12,"t":"34","b":true,"f":1.5e3,"null":null,"o":{"x":1},"l":[1,"2"],"MESSAGE_ID":"m"}"#,
        )
        .unwrap();
        assert_eq!(members.text("s").unwrap(), "a\"b");
        assert_eq!(members.integer("n"), Some(12));
        assert_eq!(members.integer("t"), Some(34));
        assert_eq!(members.integer("f"), Some(1500));
        assert_eq!(members.boolean("b"), Some(true));
        assert!(members.value("null").is_none());
        assert_eq!(members.object("o").unwrap().integer("x"), Some(1));
        assert_eq!(members.array("l").unwrap().len(), 2);
        assert!(members.text("o").is_none());
        assert_eq!(
            text(members.value_loose("messageId").unwrap()).unwrap(),
            "m"
        );
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for text in ["", "[]", "1", "{", "{} x", "null", "\"{}\""] {
            assert!(Members::read(text).is_none(), "{text}");
        }
    }
}
