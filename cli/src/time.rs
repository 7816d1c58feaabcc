//! Points in time and durations as people write them.

use std::time::Duration;

const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since 1970 of an RFC 3339 date or time (without a zone: UTC), or of a number.
pub(crate) fn parse_datetime(text: &str) -> Result<i64, String> {
    // Four digits are a year that lacks its day.
    if text.len() != 4
        && let Ok(ms) = text.parse()
    {
        return Ok(ms);
    }
    read_datetime(text).ok_or_else(|| {
        "write 2026-07-01, 2026-07-01T12:30:00Z, 2026-07-01T12:30:00.5+02:00 or milliseconds since \
         1970; without a zone it is UTC"
            .to_owned()
    })
}

fn read_datetime(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    if day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let days = days_since_1970(year, month, day) * MS_PER_DAY;
    Some(days + time.map_or(Some(0), read_time)?)
}

/// Milliseconds since the midnight in UTC, which a zone may take below zero.
fn read_time(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let local = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    Some(local - read_zone(zone)?)
}

/// Milliseconds that a zone is ahead of UTC.
fn read_zone(text: &str) -> Option<i64> {
    let sign = match text.chars().next() {
        None | Some('Z' | 'z') => return (text.len() <= 1).then_some(0),
        Some('+') => 1,
        _ => -1,
    };
    let zone = text[1..].replace(':', "");
    let (hours, minutes) = match zone.len() {
        2 => (digits(&zone, 2)?, 0),
        _ => (digits(zone.get(..2)?, 2)?, digits(zone.get(2..)?, 2)?),
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar, with years that begin in March so that a leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn datetime(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A duration such as `90s`, `1h30m`, `7d` or, as ISO 8601 has it, `P1DT2H`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    read_duration(text)
        .ok_or_else(|| "write 500ms, 90s, 1h30m, 7d or, as ISO 8601, PT1H30M".to_owned())
}

fn read_duration(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let mut is_iso = false;
    let mut rest = match lower.strip_prefix('p') {
        Some(rest) => {
            is_iso = true;
            rest
        }
        None => &lower,
    };
    let (mut total, mut in_time, mut is_empty) = (0_u64, !is_iso, true);
    while !rest.is_empty() {
        if is_iso && let Some(time) = rest.strip_prefix('t') {
            (in_time, rest) = (true, time);
            continue;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = match is_iso {
            true => 1.min(rest.len()),
            false => rest.bytes().take_while(u8::is_ascii_lowercase).count(),
        };
        let unit_ms: u64 = match rest.get(..letters)? {
            "w" if !is_iso || !in_time => 7 * 86_400_000,
            "d" if !is_iso || !in_time => 86_400_000,
            "h" if in_time => 3_600_000,
            "m" if in_time => 60_000,
            "s" if in_time => 1000,
            "ms" => 1,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
        is_empty = false;
    }
    (!is_empty).then_some(Duration::from_millis(total))
}

/// A duration in the unit that leaves a few digits.
pub(crate) fn shown(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1_000.0 => format!("{micros:.0} µs"),
        ..10_000.0 => format!("{:.2} ms", micros / 1e3),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("0", 0),
            ("1700000000000", 1_700_000_000_000),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-07-01T12:30:00Z", 1_782_909_000_000),
            ("2026-07-01 12:30", 1_782_909_000_000),
            ("2026-07-01T14:30:00.25+02:00", 1_782_909_000_250),
            ("2026-07-01T12:00:00.1239-0030", 1_782_909_000_123),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(parse_datetime(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-07-01T",
            "2026-07-01T25:00",
            "2026-07-01T12:60",
            "2026-07-01T12:30:00X",
            "2026-07-01T12:30:00+2",
            "2026-7-1",
            "2026-07-01T12:30:00.",
            "2026-07-01T12:30:00Zx",
            "2026-07-01T1é:30",
        ] {
            assert!(parse_datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("P1DT2H", 93_600_000),
            ("PT1M30S", 90_000),
            ("p2w", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "5", "P", "PT", "5x", "-5s", "P5M", "PT5D", "h", "9999999999999999999d", "é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(ms in -60_000_000_000_000_i64..250_000_000_000_000) {
            prop_assert_eq!(parse_datetime(&datetime(ms)), Ok(ms));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9PTWDHMSZ:.+é -]{0,24}") {
            let _ = (parse_datetime(&text), parse_duration(&text));
        }
    }
}
