//! `application/x-www-form-urlencoded`, as body and as query: read tolerantly, in order, within bounds.
//!
//! Nothing is an error here. What a form means, and whether its sender is who he says, is decided by those who read it.

/// Fields that are kept of one form. The network sends some sixty at most; 64 KiB could hold thirty thousand.
/// A form with more can't carry a valid signature any more, since the signature covers them all.
pub const FIELDS_MAX: usize = 1024;

/// Decoded fields in the order in which they came. A name may occur more than once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    pub fn parse(text: &[u8]) -> Form {
        let fields = text
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .take(FIELDS_MAX)
            .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (decode(&pair[..at]), decode(&pair[at + 1..])),
                None => (decode(pair), String::new()),
            })
            .collect();
        Form { fields }
    }

    /// The first value of that name. Names are case-sensitive.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// As [`Form::get`], but an empty value counts as none.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }
}

impl From<Vec<(String, String)>> for Form {
    fn from(fields: Vec<(String, String)>) -> Form {
        Form { fields }
    }
}

/// `+` is a space; an escape that isn't one stays as it is; bytes that aren't UTF-8 become U+FFFD.
pub fn decode(text: &[u8]) -> String {
    unescape(text, true)
}

/// One segment of a path, where `+` is a plus.
pub fn decode_segment(text: &str) -> String {
    unescape(text.as_bytes(), false)
}

fn unescape(text: &[u8], plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(first),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Everything but RFC 3986's unreserved characters as `%XX`: safe as one segment of a path and as a query's value.
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// At most that many bytes of it, cut between two characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Form::parse(text.as_bytes()).fields
    }

    #[test]
    fn odd_forms_are_read_as_well_as_they_can_be() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=1&b=two+words&c=%2B14155550100"),
            [pair("a", "1"), pair("b", "two words"), pair("c", "+14155550100")]
        );
        assert_eq!(pairs("&&a&=x&a==&"), [pair("a", ""), pair("", "x"), pair("a", "=")]);
        assert_eq!(pairs("a=100%&b=%zz&c=%4"), [pair("a", "100%"), pair("b", "%zz"), pair("c", "%4")]);
        assert_eq!(pairs("a=%ff%41"), [pair("a", "\u{FFFD}A")]);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn a_form_of_thousands_of_fields_is_cut_short() {
        let text = "a=1&".repeat(FIELDS_MAX * 3);
        assert_eq!(pairs(&text).len(), FIELDS_MAX);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("", 0), "");
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_give_the_same_text(text in any::<String>()) {
            prop_assert_eq!(decode(percent_encoded(&text).as_bytes()), text.clone());
            prop_assert_eq!(decode_segment(&percent_encoded(&text)), text);
        }
    }
}
