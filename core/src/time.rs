//! Wall time as people and machines outside read it.

/// RFC 3339 in UTC with milliseconds.
pub fn rfc3339_ms(wall_ms: u64) -> String {
    let millis = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_milliseconds_and_end_in_z() {
        assert_eq!(super::rfc3339_ms(1_700_000_000_005), "2023-11-14T22:13:20.005Z");
    }
}
