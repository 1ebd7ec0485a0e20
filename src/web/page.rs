//! Long lists in pages: newest first, and no row lost or doubled while rows come and go.
//!
//! A token says after which row to go on, not how many rows to skip, so a row that is born meanwhile shifts nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::web::problem::Problem;
use crate::web::query::Query;

/// A row's place in its list: when it was created, and its id among those of the same millisecond. Larger is newer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub created_ms: u64,
    pub id: String,
}

/// One row and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub cursor: Cursor,
    pub value: Value,
}

/// Which part of a list was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only rows older than this one.
    pub after: Option<Cursor>,
    pub size: usize,
}

/// The query parameters that every list has.
pub const PARAMETERS: [&str; 2] = ["page_size", "page_token"];

impl Page {
    pub fn take(query: &mut Query) -> Result<Page, Problem> {
        let size = match query.take("page_size") {
            None => SIZE_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|size| (1..=SIZE_MAX).contains(size)).ok_or_else(|| {
                    Problem::invalid(format!("page_size: expected 1 to {SIZE_MAX}, got \"{text}\""))
                })?
            }
        };
        let after = match query.take("page_token") {
            None => None,
            Some(token) => Some(Cursor::from_token(&token).ok_or_else(|| {
                Problem::invalid("page_token: expected the next_page_token of an earlier answer")
            })?),
        };
        Ok(Page { after, size })
    }

    /// How many rows to ask the store for: one more than are shown tells whether there is a next page.
    pub fn wanted(&self) -> usize {
        self.size + 1
    }

    /// The answer, from up to [`Page::wanted`] rows.
    pub fn answer(&self, rows: Vec<Row>) -> Value {
        self.answer_to(rows, None)
    }

    /// As [`Page::answer`], from a search that was broken off at `read_to`.
    pub fn answer_to(&self, mut rows: Vec<Row>, read_to: Option<Cursor>) -> Value {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        let last = rows.last().filter(|_| more).map(|row| &row.cursor);
        let next = last.or(read_to.as_ref()).map(Cursor::to_token);
        let result: Vec<Value> = rows.into_iter().map(|row| row.value).collect();
        json!({ "result": result, "next_page_token": next })
    }
}

impl Cursor {
    fn to_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("1.{}.{}", self.created_ms, self.id))
    }

    fn from_token(token: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        // The first field is the token's version: an old bookmark is refused, not misread.
        let (created_ms, id) = text.strip_prefix("1.")?.split_once('.')?;
        Some(Cursor { created_ms: created_ms.parse().ok()?, id: id.to_owned() })
    }
}

const SIZE_DEFAULT: usize = 50;
const SIZE_MAX: usize = 100;
