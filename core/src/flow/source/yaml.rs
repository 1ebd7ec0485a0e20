//! YAML 1.2 with the core schema: `yes` is text, `0o17` a number, integer keys are text. Aliases are resolved here, and
//! paid for: a few lines of them can otherwise describe more memory than there is.

use super::{Budget, DEPTH_MAX, Entry, Mark, Node, SourceError, Tree, too_deep};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::Number;
use std::collections::BTreeMap;

pub(super) fn read(text: &str) -> Result<Node, SourceError> {
    let mut builder = Builder::default();
    let mut end = Mark::START;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|e| SourceError { at: mark(e.marker()), message: e.info().to_owned() })?;
        end = mark(&span.start);
        builder.take(event, &span)?;
    }
    builder.root.ok_or(SourceError { at: end, message: "expected a document, got nothing".to_owned() })
}

/// Builds the tree from events, without recursion: the depth is the document's, the stack is ours.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    budget: Budget,
}

/// A list or a map that is not closed yet.
struct Open {
    at: Mark,
    anchor: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Node>),
    /// And the key that waits for its value.
    Map(Vec<Entry>, Option<(String, Mark)>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), SourceError> {
        let at = mark(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(SourceError { at, message: "expected one document, got a second one".to_owned() })
            }
            Event::DocumentStart(_) => Ok(()),
            Event::SequenceStart(anchor, tag) => {
                self.open(Open { at, anchor, holds: Holds::List(Vec::new()) }, tag.as_deref(), "seq")
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Open { at, anchor, holds: Holds::Map(Vec::new(), None) }, tag.as_deref(), "map")
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(SourceError {
                        at,
                        message: "expected an alias of something complete".to_owned(),
                    });
                };
                let (nodes, bytes) = weight(node);
                self.budget.spend(nodes, bytes, at)?;
                let node = Node { at, tree: node.tree.clone() };
                if self.waits_for_key() {
                    return self.key_of(node);
                }
                self.place(node)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.budget.spend(1, text.len(), at)?;
                let is_key = self.waits_for_key();
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if is_key && plain && !text.is_empty() {
                    // Keys are text whatever they look like: `1: sales` is what a menu says.
                    let node = Node { at, tree: Tree::Text(text.into_owned()) };
                    self.keep(anchor, &node)?;
                    return self.key_of(node);
                }
                let node = Node { at, tree: scalar(&text, style, tag.as_deref(), at)? };
                self.keep(anchor, &node)?;
                if is_key { self.key_of(node) } else { self.place(node) }
            }
        }
    }

    fn open(&mut self, open: Open, tag: Option<&Tag>, own_tag: &str) -> Result<(), SourceError> {
        let at = open.at;
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == own_tag)
        {
            return Err(unknown_tag(tag, at));
        }
        if self.waits_for_key() {
            return Err(SourceError {
                at,
                message: "expected a key of text, got a list or an object".to_owned(),
            });
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.budget.spend(1, 0, at)?;
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, at: Mark) -> Result<(), SourceError> {
        let Some(Open { at, anchor, holds }) = self.open.pop() else {
            return Err(SourceError { at, message: "expected something open before its end".to_owned() });
        };
        let tree = match holds {
            Holds::List(items) => Tree::List(items),
            Holds::Map(entries, _) => Tree::Map(entries),
        };
        let node = Node { at, tree };
        self.keep(anchor, &node)?;
        self.place(node)
    }

    /// What has an anchor is kept a second time, so it is paid for a second time.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), SourceError> {
        if anchor != 0 {
            let (nodes, bytes) = weight(node);
            self.budget.spend(nodes, bytes, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn waits_for_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { holds: Holds::Map(_, None), .. }))
    }

    fn key_of(&mut self, node: Node) -> Result<(), SourceError> {
        let key = match node.tree {
            Tree::Text(text) => text,
            Tree::Number { written, .. } => written,
            Tree::Flag(flag) => flag.to_string(),
            _ => {
                let message = format!("expected a key of text, got {}", node.described());
                return Err(SourceError { at: node.at, message });
            }
        };
        if let Some(Open { holds: Holds::Map(_, waiting), .. }) = self.open.last_mut() {
            *waiting = Some((key, node.at));
        }
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), SourceError> {
        match self.open.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some(node),
            Some(Holds::List(items)) => items.push(node),
            Some(Holds::Map(entries, waiting)) => {
                let Some((key, key_at)) = waiting.take() else {
                    let message = "expected a key before its value".to_owned();
                    return Err(SourceError { at: node.at, message });
                };
                entries.push(Entry { key, key_at, value: node });
            }
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Result<Tree, SourceError> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => plain(text, at),
            _ => Ok(Tree::Text(text.to_owned())),
        };
    };
    let is_core = tag.is_yaml_core_schema();
    // A lone `!` says "not resolved": text.
    if (is_core && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!") {
        return Ok(Tree::Text(text.to_owned()));
    }
    if !is_core {
        return Err(unknown_tag(tag, at));
    }
    let tree = plain(text, at)?;
    let fits = match tag.suffix.as_str() {
        "null" => tree == Tree::Null,
        "bool" => matches!(tree, Tree::Flag(_)),
        "int" => matches!(&tree, Tree::Number { value, .. } if !value.is_f64()),
        "float" => matches!(tree, Tree::Number { .. }),
        _ => return Err(unknown_tag(tag, at)),
    };
    if fits {
        return Ok(tree);
    }
    Err(SourceError { at, message: format!("expected a value that fits its tag !!{}", tag.suffix) })
}

/// The core schema's reading of a scalar without quotes.
fn plain(text: &str, at: Mark) -> Result<Tree, SourceError> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Tree::Null),
        "true" | "True" | "TRUE" => return Ok(Tree::Flag(true)),
        "false" | "False" | "FALSE" => return Ok(Tree::Flag(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(SourceError {
            at,
            message: format!("expected a finite number or text in quotes, got {text}"),
        });
    }
    Ok(match number(text, unsigned) {
        Some(value) => Tree::Number { value, written: text.to_owned() },
        None => Tree::Text(text.to_owned()),
    })
}

fn number(text: &str, unsigned: &str) -> Option<Number> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| radix(digits, 16)).flatten();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return digits.bytes().all(|b| matches!(b, b'0'..=b'7')).then(|| radix(digits, 8)).flatten();
    }
    let is_decimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_decimal(unsigned) {
        let whole = text.strip_prefix('+').unwrap_or(text);
        if let Ok(value) = whole.parse::<i64>() {
            return Some(Number::from(value));
        }
        if let Ok(value) = whole.parse::<u64>() {
            return Some(Number::from(value));
        }
        return whole.parse::<f64>().ok().and_then(Number::from_f64);
    }
    // [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    if exponent.is_some_and(|e| !is_decimal(e.strip_prefix(['-', '+']).unwrap_or(e))) {
        return None;
    }
    let fits = match mantissa.split_once('.') {
        Some((whole, part)) => {
            (is_decimal(whole) && (part.is_empty() || is_decimal(part)))
                || (whole.is_empty() && is_decimal(part))
        }
        None => is_decimal(mantissa),
    };
    if fits { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None }
}

fn weight(node: &Node) -> (usize, usize) {
    let sum = |(nodes, bytes): (usize, usize), (n, b): (usize, usize)| (nodes + n, bytes + b);
    match &node.tree {
        Tree::Null | Tree::Flag(_) => (1, 0),
        Tree::Number { written, .. } => (1, written.len()),
        Tree::Text(text) => (1, text.len()),
        Tree::List(items) => items.iter().map(weight).fold((1, 0), sum),
        Tree::Map(entries) => {
            entries.iter().map(|e| sum(weight(&e.value), (0, e.key.len()))).fold((1, 0), sum)
        }
    }
}

fn unknown_tag(tag: &Tag, at: Mark) -> SourceError {
    SourceError { at, message: format!("expected no tags beyond the core schema, got {tag}") }
}

fn mark(marker: &Marker) -> Mark {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: count(marker.line()).max(1), column: count(marker.col()).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_follow_the_core_schema() {
        let text =
            "[yes, True, ~, 0x1F, 0o17, 012, 1e3, .5, +14155550100, 1.2.3, '5', !!str 5, \"~\", 5., -]";
        let got = read(text).map(|n| n.to_json());
        // A lone dash is no scalar.
        assert!(got.is_err());
        let got = read(&text.replace(", -]", "]")).unwrap().to_json();
        let expected =
            json!(["yes", true, null, 31, 15, 12, 1000.0, 0.5, 14155550100u64, "1.2.3", "5", "5", "~", 5.0]);
        assert_eq!(got, expected);
    }

    #[test]
    fn keys_are_text_and_stand_where_they_are_written() {
        let node = read("a:\n  1: x\n  true: y\n  'b c': &k z\nd: *k\n").unwrap();
        assert_eq!(node.to_json(), json!({ "a": { "1": "x", "true": "y", "b c": "z" }, "d": "z" }));
        let Tree::Map(entries) = &node.tree else { panic!() };
        let Tree::Map(inner) = &entries[0].value.tree else { panic!() };
        assert_eq!(inner[2].key_at, Mark { line: 4, column: 3 });
        assert_eq!(entries[1].value.at, Mark { line: 5, column: 4 });
    }

    #[test]
    fn aliases_cannot_describe_more_than_the_bounds() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let many = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{many}]\n"));
        }
        assert!(read(&laughs).unwrap_err().message.contains("values"));
        let long = format!("a: &a {}\nb: [{}]\n", "y".repeat(100_000), vec!["*a"; 1000].join(", "));
        assert!(read(&long).unwrap_err().message.contains("bytes in all values"));
        assert!(read("a: &a [*a]").is_err());
        assert!(read(&"[".repeat(100)).is_err() && read(&"[".repeat(5000)).is_err());
        let deep: String = (0..DEPTH_MAX + 2).map(|depth| format!("{}- a:\n", "  ".repeat(depth))).collect();
        assert!(read(&deep).unwrap_err().message.contains("levels"));
    }

    #[test]
    fn one_document_and_only_known_tags() {
        assert!(read("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second"));
        assert!(read("a: !ruby/object x").unwrap_err().message.contains("tags"));
        assert!(read("a: .nan").is_err());
        assert!(read("? [a]\n: b").is_err());
        assert!(read("# nothing").unwrap_err().message.contains("got nothing"));
    }
}
