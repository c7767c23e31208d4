//! Wall-clock instants as they travel: RFC 3339 in UTC with milliseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch; written as `2026-11-20T10:00:00.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The present, from the system clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The instant `millis` milliseconds after the epoch, the unit that DingTalk uses.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time left until this instant as seen from `now`; zero when it has passed.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant moved by `by` into the future.
    pub fn after(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// When `text` is not RFC 3339.
    pub fn parse(text: &str) -> Result<Self, time::error::Parse> {
        let at = OffsetDateTime::parse(text, &Rfc3339)?;
        let millis = at.unix_timestamp_nanos() / 1_000_000;
        Ok(Self(i64::try_from(millis).unwrap_or(i64::MAX)))
    }
}

/// Length of `2026-11-20T10:00:00.123Z`.
const LENGTH: usize = 24;
/// The beginning of all timestamps.
const EPOCH: &str = "1970-01-01T00:00:00.000Z";

impl Timestamp {
    /// The text in ASCII, without the machinery of formatting: it stands four times in every message
    /// that comes in. `None` outside the years 0 to 9999, which have another form.
    fn ascii(self) -> Option<[u8; LENGTH]> {
        let seconds = self.0.div_euclid(1000);
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let year = u32::try_from(at.year())
            .ok()
            .filter(|year| *year < 10_000)?;
        let (hour, minute, second) = at.to_hms();
        let milli = u32::try_from(self.0.rem_euclid(1000)).ok()?;
        let (month, day) = (u8::from(at.month()), at.day());
        let digit = |number: u32, unit: u32| b'0' + u8::try_from(number / unit % 10).unwrap_or(0);
        let pair = |number: u8| [b'0' + number / 10, b'0' + number % 10];
        let ([m, n], [d, e]) = (pair(month), pair(day));
        let ([h, i], [j, k], [s, t]) = (pair(hour), pair(minute), pair(second));
        let y = |unit| digit(year, unit);
        let f = |unit| digit(milli, unit);
        Some([
            y(1000),
            y(100),
            y(10),
            y(1),
            b'-',
            m,
            n,
            b'-',
            d,
            e,
            b'T',
            h,
            i,
            b':',
            j,
            k,
            b':',
            s,
            t,
            b'.',
            f(100),
            f(10),
            f(1),
            b'Z',
        ])
    }

    /// An instant that has no text reads as the epoch.
    fn with_text<T>(self, read: impl FnOnce(&str) -> T) -> T {
        match self.ascii() {
            Some(ascii) => read(std::str::from_utf8(&ascii).unwrap_or(EPOCH)),
            None => read(EPOCH),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is not a time like 2026-11-20T10:00:00.123Z"
            ))
        })
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 in UTC with milliseconds"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_is_written_as_the_standard_wants_it(millis in -62_167_219_200_000_i64..253_402_300_800_000) {
            let at = Timestamp::from_millis(millis);
            let text = at.to_string();
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(Timestamp::parse(&text).unwrap(), at);
        }

        #[test]
        fn no_instant_is_without_a_text(millis: i64) {
            let text = Timestamp::from_millis(millis).to_string();
            prop_assert!(Timestamp::parse(&text).is_ok());
        }
    }

    #[test]
    fn writes_and_reads_milliseconds_in_utc() {
        let at = Timestamp::from_millis(1_769_851_697_611);
        assert_eq!(at.to_string(), "2026-01-31T09:28:17.611Z");
        assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
        let offset = Timestamp::parse("2026-01-31T17:28:17.611+08:00").unwrap();
        assert_eq!(offset, at);
    }
}
