//! Query strings, read strictly: a misspelt filter must not silently mean "everything".

use std::collections::BTreeMap;

use crate::config::nearest;
use crate::web::problem::Problem;

/// The parameters of one request, each of which came once and is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    values: BTreeMap<String, String>,
}

impl Query {
    pub fn read(query: &str, known: &[&str]) -> Result<Query, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let meant = nearest(&name, known.iter().copied());
                let meant = meant.map_or(String::new(), |meant| format!("; did you mean \"{meant}\"?"));
                return Err(Problem::invalid(format!("unknown query parameter \"{name}\"{meant}")));
            }
            if values.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Problem::invalid(format!("query parameter \"{name}\" came twice")));
            }
        }
        Ok(Query { values })
    }

    /// The value; an empty one is the same as none, as forms send it.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    /// The value, which must be one of `words`.
    pub fn take_word(&mut self, name: &str, words: &[&str]) -> Result<Option<String>, Problem> {
        match self.take(name) {
            Some(value) if !words.contains(&value.as_str()) => Err(Problem::invalid(format!(
                "query parameter \"{name}\": expected one of {}, got \"{value}\"",
                words.join(", ")
            ))),
            value => Ok(value),
        }
    }
}
