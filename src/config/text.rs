//! Values that are written as text but mean more: secrets and sizes. It knows no section.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::message::Secret;

/// Reads an optional secret.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Secret::new))
}

/// A size in bytes: a whole number, or text with a unit such as `512MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(Option<u64>);

impl Size {
    /// The bytes; nothing when the text was no size.
    pub(super) const fn bytes(self) -> Option<u64> {
        self.0
    }

    fn parse(text: &str) -> Self {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kib" => Some(1 << 10),
            "m" | "mib" => Some(1 << 20),
            "g" | "gib" => Some(1 << 30),
            "t" | "tib" => Some(1 << 40),
            "kb" => Some(1_000),
            "mb" => Some(1_000_000),
            "gb" => Some(1_000_000_000),
            "tb" => Some(1_000_000_000_000),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        Self(
            number
                .zip(scale)
                .and_then(|(n, scale)| n.checked_mul(scale)),
        )
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"512MiB\" or a number of bytes")
            }

            fn visit_u64<E>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(Some(bytes)))
            }

            fn visit_i64<E>(self, bytes: i64) -> Result<Size, E> {
                Ok(Size(u64::try_from(bytes).ok()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Size, E> {
                Ok(Size::parse(text))
            }
        }

        from.deserialize_any(SizeVisitor)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+ *([kmgtKMGT]?[bB]?|[kmgtKMGT][iI][bB])$",
            "minimum": 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_binary_and_decimal_units_and_none_is_bytes() {
        let bytes = |text| Size::parse(text).bytes();
        assert_eq!(bytes("1048576"), Some(1_048_576));
        assert_eq!(bytes("1GiB"), Some(1_073_741_824));
        assert_eq!(bytes("512 mib"), Some(536_870_912));
        assert_eq!(bytes("2GB"), Some(2_000_000_000));
        for wrong in ["", "GiB", "1.5GiB", "-1", "1 apple", "99999999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
