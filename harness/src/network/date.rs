//! The ways in which the network writes a date.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Thu, 01 Jun 2017 20:48:32 +0000`: calls, conferences, recordings.
pub fn rfc2822(wall_ms: u64) -> String {
    let (year, month, day, [hour, minute, second]) = civil(wall_ms);
    let weekday = DAYS.get((wall_ms / 86_400_000 % 7) as usize).unwrap_or(&"");
    let month = MONTHS.get(month as usize - 1).unwrap_or(&"");
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

/// `Thu, 01 Jun 2017 20:48:32 GMT`: the head of every answer.
pub fn http(wall_ms: u64) -> String {
    rfc2822(wall_ms).replace("+0000", "GMT")
}

/// `2017-06-01T20:48:32.123Z`: streams.
pub fn iso8601(wall_ms: u64) -> String {
    let (year, month, day, [hour, minute, second]) = civil(wall_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", wall_ms % 1000)
}

fn civil(wall_ms: u64) -> (u64, u64, u64, [u64; 3]) {
    let seconds = wall_ms / 1000;
    let time = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    // Days since 1 March 0000, in eras of 400 years: leap days then fall at the end of a year.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_network_does() {
        assert_eq!(rfc2822(1_496_350_112_000), "Thu, 01 Jun 2017 20:48:32 +0000");
        assert_eq!(iso8601(1_709_164_800_007), "2024-02-29T00:00:00.007Z");
        assert_eq!(rfc2822(0), "Thu, 01 Jan 1970 00:00:00 +0000");
    }
}
