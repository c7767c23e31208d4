//! When counters of DingTalk's start again.

use std::time::Duration;

use time::{Date, Month, OffsetDateTime, UtcOffset};

use crate::message::Timestamp;

/// Time until per-minute counters start again.
pub(super) fn until_next_minute(now: Timestamp) -> Duration {
    let past = now.as_millis().rem_euclid(60_000);
    Duration::from_millis(u64::try_from(60_000 - past).unwrap_or(60_000))
}

/// Time until monthly quotas start again: midnight of the first in Shanghai, which has no summer time.
pub(super) fn until_next_month(now: Timestamp) -> Duration {
    const DAY: Duration = Duration::from_secs(86_400);
    let turn = || {
        let shanghai = UtcOffset::from_hms(8, 0, 0).ok()?;
        let seconds = now.as_millis().div_euclid(1000);
        let here = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let here = here.to_offset(shanghai);
        let (year, month) = match here.month() {
            Month::December => (here.year() + 1, Month::January),
            month => (here.year(), month.next()),
        };
        let first = Date::from_calendar_date(year, month, 1).ok()?;
        let first = first.midnight().assume_offset(shanghai);
        Some(Timestamp::from_millis(first.unix_timestamp() * 1000))
    };
    turn().map_or(DAY, |turn| turn.since(now))
}
