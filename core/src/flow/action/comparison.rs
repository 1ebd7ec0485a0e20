//! What the conditions share: operators, and values as numbers.

use std::cmp::Ordering;

pub const OPERATORS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];

/// Whether two values that stand so to each other satisfy the operator.
pub fn holds(operator: &str, order: Ordering) -> bool {
    match operator {
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => order.is_eq(),
    }
}

/// A text that is a JSON number, with space around it or not: no plus sign, no hexadecimal, no infinity.
pub fn number(text: &str) -> Option<f64> {
    serde_json::from_str::<serde_json::Number>(text.trim()).ok()?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_json_says() {
        for (text, expected) in [
            ("1", Some(1.0)),
            (" -2.5e1 ", Some(-25.0)),
            ("+1", None),
            ("0x1", None),
            ("", None),
            ("1 2", None),
            ("inf", None),
            ("01", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
