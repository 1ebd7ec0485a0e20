//! `${path}` inside an expression: it becomes a name of the same length that the grammar can read, so that positions
//! stay what they are. Names of macros are hidden from the reader in the same way: it would unfold them into steps that
//! copy their whole result for every item.

use super::Malformed;
use std::collections::BTreeMap;

pub struct Placeholders {
    /// The text with names in place of `${…}`.
    pub text: String,
    /// What those names stand for: path and fallback.
    pub names: BTreeMap<String, (String, Option<String>)>,
}

/// Macros, and the names of the same length that stand for them.
const MACROS: &[(&str, &str)] = &[
    ("has", "h_s"),
    ("all", "a_l"),
    ("exists", "ex_sts"),
    ("exists_one", "ex_sts_one"),
    ("existsOne", "ex_stsOne"),
    ("map", "m_p"),
    ("filter", "f_lter"),
];

/// The macro that such a name stands for.
pub fn macro_of(hidden: &str) -> Option<&'static str> {
    MACROS.iter().find(|(_, name)| *name == hidden).map(|(name, _)| *name)
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub fn replace(text: &str) -> Result<Placeholders, Malformed> {
    let mut out = String::with_capacity(text.len());
    let mut names = BTreeMap::new();
    let (mut rest, mut column, mut made) = (text, 1, 0);
    while let Some(next) = rest.chars().next() {
        let taken = if next == '\'' || next == '"' || is_raw(rest) {
            let quoted = literal(rest);
            check_literal(quoted, column)?;
            out.push_str(&quoted.replace("$${", "${"));
            quoted
        } else if let Some(comment) = rest.strip_prefix("//") {
            let end = comment.find('\n').unwrap_or(comment.len());
            let comment = rest.get(..end + 2).unwrap_or(rest);
            out.push_str(comment);
            comment
        } else if let Some(inside) = rest.strip_prefix("${") {
            let Some(end) = inside.find('}') else {
                return Err(Malformed { column, message: "expected a \"}\" after \"${\"".to_owned() });
            };
            let body = inside.get(..end).unwrap_or("");
            let whole = rest.get(..end + 3).unwrap_or(rest);
            let name = loop {
                let name = name_of(made, whole.chars().count());
                made += 1;
                if !text.contains(&name) {
                    break name;
                }
            };
            out.push_str(&name);
            let (path, fallback) = match body.split_once(":-") {
                Some((path, fallback)) => (path.trim(), Some(fallback.to_owned())),
                None => (body.trim(), None),
            };
            if path.is_empty() {
                return Err(Malformed { column, message: "expected a name inside \"${}\"".to_owned() });
            }
            names.insert(name, (path.to_owned(), fallback));
            whole
        } else if next.is_alphabetic() || next == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let hidden = MACROS.iter().find(|(name, _)| *name == word);
            let is_call = after.trim_start().starts_with('(');
            out.push_str(hidden.filter(|_| is_call).map_or(word, |(_, hidden)| hidden));
            word
        } else {
            out.push(next);
            rest.get(..next.len_utf8()).unwrap_or(rest)
        };
        column += taken.chars().count();
        rest = rest.get(taken.len()..).unwrap_or("");
    }
    Ok(Placeholders { text: out, names })
}

/// An `r'` that begins a raw literal; that of a longer name was read with its name.
fn is_raw(rest: &str) -> bool {
    ["r'", "r\"", "R'", "R\""].iter().any(|raw| rest.starts_with(raw))
}

/// A text in quotes from the beginning of `rest`, to its end or to the end of everything.
fn literal(rest: &str) -> &str {
    let is_raw = rest.starts_with(['r', 'R']);
    let body = if is_raw { rest.get(1..).unwrap_or("") } else { rest };
    let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| body.starts_with(quote)).unwrap_or("'");
    let start = usize::from(is_raw) + quote.len();
    let mut at = start;
    while let Some(left) = rest.get(at..) {
        if left.starts_with(quote) {
            return rest.get(..at + quote.len()).unwrap_or(rest);
        }
        let mut letters = left.chars();
        match letters.next() {
            None => break,
            Some('\\') if !is_raw => at += 1 + letters.next().map_or(0, char::len_utf8),
            Some(letter) => at += letter.len_utf8(),
        }
    }
    rest
}

/// Pasting a value into a text is what expressions are not for: it would be half text, half value.
fn check_literal(quoted: &str, column: usize) -> Result<(), Malformed> {
    let plain = quoted.replace("$${", "   ");
    match plain.find("${") {
        None => Ok(()),
        Some(at) => {
            let before = plain.get(..at).map_or(0, |before| before.chars().count());
            let message = "a variable inside quotes is not filled in; write it outside of them, as `'a ' + ${x}` \
                           (a literal \"${\" is written \"$${\")";
            Err(Malformed { column: column + before, message: message.to_owned() })
        }
    }
}

fn name_of(number: usize, length: usize) -> String {
    let letter = |at: usize| char::from(LETTERS.get(at % LETTERS.len()).copied().unwrap_or(b'A'));
    let mut name = format!("_{}{}", letter(number / LETTERS.len()), letter(number));
    while name.len() < length {
        name.push('_');
    }
    name
}
