//! Months as DingTalk counts them: in China time, UTC+8, which has no summer time. Pure.

use time::{Date, Month, OffsetDateTime, UtcOffset};

use crate::message::Timestamp;

/// The forecast of a month that has only begun counts at least this much of it as over.
const LEAST_ELAPSED_MS: i64 = 6 * 3_600_000;

/// One month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    year: i32,
    month: Month,
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// The month that `now` lies in.
    pub(super) fn of(now: Timestamp) -> Self {
        let here = china(now);
        let (year, month) = (here.year(), here.month());
        let (next_year, next) = match month {
            Month::December => (year + 1, Month::January),
            month => (year, month.next()),
        };
        Self {
            year,
            month,
            from: first(year, month, now),
            to: first(next_year, next, now),
        }
    }

    /// Calls at the end of the month when `used` were made until `now`.
    pub(super) fn forecast(&self, used: u64, now: Timestamp) -> u64 {
        let whole = self.to.as_millis() - self.from.as_millis();
        let elapsed = now.as_millis() - self.from.as_millis();
        let elapsed = elapsed.clamp(LEAST_ELAPSED_MS, whole.max(LEAST_ELAPSED_MS));
        let grown = i128::from(used) * i128::from(whole) / i128::from(elapsed);
        u64::try_from(grown).unwrap_or(u64::MAX).max(used)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, u8::from(self.month))
    }
}

fn china(at: Timestamp) -> OffsetDateTime {
    let seconds = at.as_millis().div_euclid(1000);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.to_offset(offset())
}

fn offset() -> UtcOffset {
    UtcOffset::from_hms(8, 0, 0).unwrap_or(UtcOffset::UTC)
}

fn first(year: i32, month: Month, otherwise: Timestamp) -> Timestamp {
    let Ok(date) = Date::from_calendar_date(year, month, 1) else {
        return otherwise;
    };
    let first = date.midnight().assume_offset(offset());
    Timestamp::from_millis(first.unix_timestamp() * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_month_turns_at_midnight_in_china() {
        for (text, month) in [
            ("2026-11-30T15:59:59.999Z", "2026-11"),
            ("2026-11-30T16:00:00.000Z", "2026-12"),
            ("2026-12-31T16:00:00.000Z", "2027-01"),
        ] {
            assert_eq!(Span::of(at(text)).to_string(), month, "{text}");
        }
    }

    #[test]
    fn the_forecast_grows_with_the_elapsed_part_of_the_month() {
        let half = at("2026-11-15T16:00:00Z");
        assert_eq!(Span::of(half).forecast(1000, half), 2000);
        let begun = at("2026-10-31T16:00:01Z");
        assert_eq!(Span::of(begun).forecast(10, begun), 1200);
        let over = at("2026-11-30T15:59:59Z");
        assert_eq!(Span::of(over).forecast(1000, over), 1000);
    }
}
