//! A strict JSON reader that remembers positions. serde_json forgets them, and forgives duplicate keys.

use super::{Budget, DEPTH_MAX, Entry, Mark, Node, SourceError, Tree, too_deep};
use serde_json::Number;

pub(super) fn read(text: &str) -> Result<Node, SourceError> {
    let mut reader = Reader { rest: text.chars().peekable(), at: Mark::START, budget: Budget::default() };
    reader.skip_space();
    let node = reader.value(0)?;
    reader.skip_space();
    match reader.rest.peek().copied() {
        None => Ok(node),
        Some(c) => Err(reader.wrong(&format!("expected the end of the document, got {c:?}"))),
    }
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    at: Mark,
    budget: Budget,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, SourceError> {
        let at = self.at;
        if depth > DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.budget.spend(1, 0, at)?;
        let tree = match self.rest.peek().copied() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Tree::Text(self.text()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.word()?,
            Some(c) => return Err(self.wrong(&format!("expected a value, got {c:?}"))),
            None => return Err(self.wrong("expected a value, got the end of the text")),
        };
        Ok(Node { at, tree })
    }

    fn object(&mut self, depth: usize) -> Result<Tree, SourceError> {
        self.next();
        let mut entries = Vec::new();
        self.skip_space();
        if self.accept('}') {
            return Ok(Tree::Map(entries));
        }
        loop {
            self.skip_space();
            let key_at = self.at;
            if self.rest.peek() != Some(&'"') {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.text()?;
            self.skip_space();
            if !self.accept(':') {
                return Err(self.unexpected("':'"));
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, key_at, value });
            self.skip_space();
            if self.accept('}') {
                return Ok(Tree::Map(entries));
            }
            if !self.accept(',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree, SourceError> {
        self.next();
        let mut items = Vec::new();
        self.skip_space();
        if self.accept(']') {
            return Ok(Tree::List(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.accept(']') {
                return Ok(Tree::List(items));
            }
            if !self.accept(',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn text(&mut self) -> Result<String, SourceError> {
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(self.wrong("expected '\"', got the end of the text")),
                Some('"') => break,
                Some('\\') => text.push(self.escape(at)?),
                Some(c) if c < ' ' => {
                    let message = format!("expected control characters to be escaped in text, got {c:?}");
                    return Err(SourceError { at, message });
                }
                Some(c) => text.push(c),
            }
        }
        self.budget.spend(0, text.len(), self.at)?;
        Ok(text)
    }

    fn escape(&mut self, at: Mark) -> Result<char, SourceError> {
        let c = match self.next() {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode_escape(at),
            _ => {
                return Err(SourceError {
                    at,
                    message: "expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u".to_owned(),
                });
            }
        };
        Ok(c)
    }

    /// Characters beyond the basic plane come as two escapes, a surrogate pair; half of one is no character.
    fn unicode_escape(&mut self, at: Mark) -> Result<char, SourceError> {
        let lone =
            || SourceError { at, message: "expected a whole surrogate pair, got half of one".to_owned() };
        let first = self.hex4(at)?;
        let code = match first {
            0xD800..=0xDBFF => {
                if self.next() != Some('\\') || self.next() != Some('u') {
                    return Err(lone());
                }
                let second = self.hex4(at)?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(lone());
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex4(&mut self, at: Mark) -> Result<u32, SourceError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| SourceError {
                at,
                message: "expected four hexadecimal digits after \\u".to_owned(),
            })?;
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Tree, SourceError> {
        let at = self.at;
        let mut written = String::new();
        while let Some(c) = self.rest.peek().copied() {
            if !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E') {
                break;
            }
            written.push(c);
            self.next();
        }
        // serde_json knows the grammar of numbers; only their extent is found here.
        match serde_json::from_str::<Number>(&written) {
            Ok(value) => Ok(Tree::Number { value, written }),
            Err(_) => Err(SourceError {
                at,
                message: format!("expected a number, got {}", super::quoted(&written)),
            }),
        }
    }

    fn word(&mut self) -> Result<Tree, SourceError> {
        let at = self.at;
        let mut word = String::new();
        while let Some(c) = self.rest.peek().copied() {
            if !c.is_ascii_alphanumeric() {
                break;
            }
            word.push(c);
            self.next();
        }
        match word.as_str() {
            "true" => Ok(Tree::Flag(true)),
            "false" => Ok(Tree::Flag(false)),
            "null" => Ok(Tree::Null),
            _ => Err(SourceError { at, message: format!("expected a value, got {}", super::quoted(&word)) }),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = Mark { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(c)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let is_next = self.rest.peek() == Some(&wanted);
        if is_next {
            self.next();
        }
        is_next
    }

    fn skip_space(&mut self) {
        while let Some(' ' | '\t' | '\n' | '\r') = self.rest.peek() {
            self.next();
        }
    }

    fn unexpected(&mut self, expected: &str) -> SourceError {
        match self.rest.peek().copied() {
            Some(c) => self.wrong(&format!("expected {expected}, got {c:?}")),
            None => self.wrong(&format!("expected {expected}, got the end of the text")),
        }
    }

    fn wrong(&self, message: &str) -> SourceError {
        SourceError { at: self.at, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_positions_and_their_escapes() {
        let node = read("{\n  \"a\": [1, \"\\ud83d\\ude00\\n\"],\n\"ä\": 2e3, \"a\": null }").unwrap();
        let Tree::Map(entries) = &node.tree else { panic!("{node:?}") };
        assert_eq!(entries[0].key_at, Mark { line: 2, column: 3 });
        let Tree::List(items) = &entries[0].value.tree else { panic!() };
        assert_eq!(items[1], Node { at: Mark { line: 2, column: 12 }, tree: Tree::Text("😀\n".into()) });
        assert_eq!(entries[1].value.at, Mark { line: 3, column: 6 });
        assert_eq!(node.to_json(), serde_json::json!({ "a": [1, "😀\n"], "ä": 2000.0 }));
    }

    #[test]
    fn what_serde_json_refuses_is_refused_here_too() {
        for text in [
            "",
            "{",
            "{}x",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "+1",
            "nul",
            "NaN",
            "'a'",
            "\"\t\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\x\"",
            "\"",
            "{a:1}",
            "[1 2]",
            "1e999",
            "// c\n1",
        ] {
            assert!(read(text).is_err(), "{text:?}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep).unwrap_err().message.contains("levels of nesting"));
    }
}
