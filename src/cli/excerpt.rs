//! The place of a problem in its file, as people look at it: the line, the one before it, and a mark below.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Of a file's beginning; a longer one is no workflow and no configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Characters of a line; what is longer is shown around the mark.
const WIDTH: usize = 100;
/// What stands before the mark in a line that was cut.
const BEFORE: usize = 40;

/// Reads each file once, however many problems it has.
#[derive(Default)]
pub struct Excerpts {
    files: BTreeMap<PathBuf, Vec<String>>,
}

impl Excerpts {
    /// None for what is about a file as a whole, or about one that cannot be read. Line and column count from 1.
    pub fn around(&mut self, file: &Path, line: usize, column: usize) -> Option<String> {
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| read(file));
        let (at, from) = (line.checked_sub(1)?, column.checked_sub(1)?);
        let letters: Vec<char> = lines.get(at)?.chars().collect();
        let width = (line.to_string().len() + 1).max(4);
        let mut text = String::new();
        let before = at.checked_sub(1).and_then(|before| lines.get(before));
        if let Some(before) = before.filter(|before| !before.trim().is_empty()) {
            let before: Vec<char> = before.chars().collect();
            text.push_str(&format!("{:>width$} | {}\n", line - 1, cut(&before, from).0));
        }
        let (shown, place) = cut(&letters, from);
        text.push_str(&format!("{line:>width$} | {shown}\n"));
        let marks = word(&letters, from).min(WIDTH - place.min(WIDTH - 1));
        text.push_str(&format!("{:>width$} | {}{}\n", "", " ".repeat(place), "^".repeat(marks)));
        Some(text)
    }
}

fn read(file: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    // One place a letter, or the mark would stand elsewhere; and a file has no say in what a terminal does.
    let plain = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{FFFD}',
        letter => letter,
    };
    text.lines().map(|line| line.chars().map(plain).collect()).collect()
}

/// What of a line is shown, and where in it the mark stands.
fn cut(letters: &[char], from: usize) -> (String, usize) {
    if letters.len() <= WIDTH {
        return (letters.iter().collect(), from.min(letters.len()));
    }
    let start = from.min(letters.len()).saturating_sub(BEFORE);
    let shown = letters.iter().skip(start).take(WIDTH - 2);
    let (head, tail) =
        (if start > 0 { "…" } else { "" }, if start + WIDTH - 2 < letters.len() { "…" } else { "" });
    let place = from.min(letters.len()) - start + head.chars().count();
    (format!("{head}{}{tail}", shown.collect::<String>()), place)
}

/// Letters of the word that begins there; at least one.
fn word(letters: &[char], from: usize) -> usize {
    let rest = letters.get(from..).unwrap_or(&[]);
    let length = match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            rest.iter().skip(1).position(|letter| letter == quote).map_or(rest.len(), |end| end + 2)
        }
        _ => {
            let ends = |letter: &char| letter.is_whitespace() || ",:]}".contains(*letter);
            rest.iter().position(ends).unwrap_or(rest.len())
        }
    };
    length.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_word_wherever_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let long = format!("{}: \"ä\u{1b} b\", c{}", "k".repeat(150), "x".repeat(200));
        std::fs::write(&file, format!("a: 1\n{long}\n\n\tlast")).unwrap();
        let mut excerpts = Excerpts::default();
        let mut around = |line, column| excerpts.around(&file, line, column).unwrap_or_default();
        assert_eq!(around(1, 1), "   1 | a: 1\n     | ^\n");
        let shown = around(2, 153);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[1].contains("…kk") && lines[1].contains("\"ä\u{FFFD} b\", c") && lines[1].ends_with('…')
        );
        let place = lines[1].chars().position(|letter| letter == '"').unwrap();
        assert_eq!(lines[2].chars().position(|letter| letter == '^'), Some(place));
        assert!(
            lines[2].ends_with("^^^^^^") && lines.iter().all(|line| line.chars().count() <= 110),
            "{shown}"
        );
        assert_eq!(around(4, 2), "   4 |  last\n     |  ^^^^\n");
        assert_eq!(around(4, 900), "   4 |  last\n     |      ^\n", "a place behind the end");
        assert_eq!((around(9, 1), around(0, 0)), (String::new(), String::new()));
    }
}
