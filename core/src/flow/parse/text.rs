//! What stands inside a text: variables, expressions, durations.

/// The variables of a text, found without resolving them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan<'t> {
    /// In order: what stands between `${` and `}`, without the fallback.
    pub names: Vec<&'t str>,
    /// A `${` without its `}`.
    pub unclosed: bool,
}

/// Finds `${name}` and `${name:-fallback}`; `$${` is a literal `${`.
pub fn scan(text: &str) -> Scan<'_> {
    let mut scan = Scan::default();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        rest = rest.split_at(start).1;
        if let Some(after) = rest.strip_prefix("$${") {
            rest = after;
        } else if let Some(inside) = rest.strip_prefix("${") {
            let Some((body, after)) = inside.split_once('}') else {
                scan.unclosed = true;
                break;
            };
            let name = body.split_once(":-").map_or(body, |(name, _)| name);
            scan.names.push(name.trim());
            rest = after;
        } else {
            rest = rest.strip_prefix('$').unwrap_or("");
        }
    }
    scan
}

/// True when the text stands for a value that is known only when it runs. `$=` begins a literal `=`.
pub fn is_dynamic(text: &str) -> bool {
    expression(text).is_some() || !scan(text).names.is_empty()
}

/// The text after the `=` of an expression. `==` is the operator that conditions name, and no expression.
pub fn expression(text: &str) -> Option<&str> {
    text.strip_prefix('=').filter(|expression| *expression != "=")
}

/// Whether an expression's text mentions the secrets.
pub(super) fn expression_has_secret(expression: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    expression.match_indices("secret").any(|(start, word)| {
        let (before, rest) = expression.split_at(start);
        let after = rest.strip_prefix(word).unwrap_or("").trim_start();
        !before.ends_with(is_word) && after.starts_with(['.', '['])
    })
}

/// The first part of a variable's name: `call` of `call.from`, `items` of `items[0]`.
pub(crate) fn is_secret(name: &str) -> bool {
    let head = name.split(['.', '[']).next().unwrap_or(name);
    head.eq_ignore_ascii_case("secret")
}

/// `250ms`, `10s`, `5m`, `4h` in milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let units: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), factor)))?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// As a document would write it.
pub(super) fn duration_text(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_escapes_are_not() {
        assert_eq!(scan("a ${b.c} $${d} ${e:-f:-g} $").names, ["b.c", "e"]);
        assert!(scan("${a} ${b").unclosed);
        assert!(!scan("$${b").unclosed);
        assert!(is_dynamic("=1") && !is_dynamic("$=1") && is_dynamic("$=${x}"));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(
            ["250ms", "10s", "5m", "4h"].map(duration_ms),
            [250, 10_000, 300_000, 14_400_000].map(Some)
        );
        assert_eq!(["", "s", "1", "1.5s", "-1s", "1d", "99999999999999999999s"].map(duration_ms), [None; 7]);
        assert_eq!([0, 1, 1000, 90_000, 120_000].map(duration_text), ["0", "1ms", "1s", "90s", "2m"]);
    }

    #[test]
    fn secrets_are_seen_in_expressions() {
        assert!(expression_has_secret("size(secret.KEY)") && expression_has_secret("secret [\"K\"]"));
        assert!(!expression_has_secret("my.secret.x") && !expression_has_secret("secrets.x"));
    }
}
