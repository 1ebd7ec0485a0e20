//! Phone numbers on their way into the log.

use std::fmt;

/// `[log] numbers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// The last two digits.
    #[default]
    Masked,
    Full,
}

impl Numbers {
    /// A phone number (or SIP address) as the log may show it.
    pub fn show(self, number: &str) -> Masked<'_> {
        Masked { number, numbers: self }
    }
}

/// A phone number as it is shown.
#[derive(Clone, Copy)]
pub struct Masked<'n> {
    number: &'n str,
    numbers: Numbers,
}

impl fmt::Display for Masked<'_> {
    /// Two digits are enough to tell callers of one test apart, and too few to know anyone by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.numbers == Numbers::Full {
            return f.write_str(self.number);
        }
        // Of a SIP address or a client's name no part is harmless: names are short.
        let is_number = self
            .number
            .chars()
            .all(|letter| letter.is_ascii_digit() || matches!(letter, '+' | ' ' | '-' | '(' | ')' | '.'));
        let digits: Vec<char> = self.number.chars().filter(char::is_ascii_digit).collect();
        match digits.as_slice() {
            [_, .., tens, ones] if is_number => write!(f, "***{tens}{ones}"),
            _ if self.number.is_empty() => Ok(()),
            _ => f.write_str("***"),
        }
    }
}

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_two_digits_unless_all_are_asked_for() {
        let table = [
            ("+14155550142", "***42"),
            ("(415) 555-0199", "***99"),
            ("911", "***11"),
            ("42", "***"),
            ("sip:alice12@example.com", "***"),
            ("client:bob", "***"),
            ("", ""),
        ];
        for (number, shown) in table {
            assert_eq!(Numbers::Masked.show(number).to_string(), shown, "{number}");
            assert_eq!(Numbers::Full.show(number).to_string(), number);
        }
    }
}
