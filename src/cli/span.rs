//! Times as a person types them: `30s`, `2h`, `2026-11-20T10:00:00Z`. It knows no command.

use std::time::Duration;

use crate::message::Timestamp;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a number and a unit of `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is no length of time; write 500ms, 30s, 10m, 2h or 7d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(refused)?;
    let millis = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, millis)| millis);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let length = number
        .checked_mul(*millis.ok_or_else(refused)?)
        .ok_or_else(refused)?;
    Ok(Duration::from_millis(length))
}

/// Reads an instant: RFC 3339, or a length of time before `now`.
pub(super) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let ago = duration(text)
        .map_err(|_| format!("`{text}` is no time; write 10m, 2h, 7d or 2026-11-20T10:00:00Z"))?;
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_instants_are_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in [
            "",
            "5",
            "h",
            "1y",
            "-3s",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let now = Timestamp::from_millis(10_000_000);
        assert_eq!(instant("1h", now), Ok(Timestamp::from_millis(6_400_000)));
        assert_eq!(
            instant("1970-01-01T00:00:01Z", now),
            Ok(Timestamp::from_millis(1000))
        );
        assert!(instant("yesterday", now).is_err());
    }
}
