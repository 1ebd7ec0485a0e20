//! Variables of one run: JSON values under flat, dotted names, with paths into them.
//!
//! Names of the runtime (`call.…`, `activeflow.…`, `error`) live in a map of their own: a workflow can read them and
//! never set them, and they don't count towards the workflow's caps.

use crate::limit::{VALUE_BYTES_MAX, VARIABLES_BYTES_MAX, VARIABLES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

/// First parts of names that belong to the runtime; the letter case doesn't matter.
const RESERVED: [&str; 5] = ["call", "activeflow", "voipbin", "secret", "error"];

/// Steps of a path (`.key`, `[n]`, `["key"]`) that are followed into one value.
const PATH_STEPS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Vars {
    own: BTreeMap<String, Value>,
    runtime: Few,
    /// Bytes of all own values as JSON text, their names counted.
    bytes: usize,
}

/// A map for some twenty names, in their order: every run has one, and a tree's nodes take twice the room.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Value>", into = "BTreeMap<String, Value>")]
struct Few(Vec<(Cow<'static, str>, Slim)>);

/// A value of the runtime: nearly all are words, and a [`Value`] is three times as large.
#[derive(Debug, Clone, PartialEq)]
enum Slim {
    Null,
    Count(u64),
    Text(Box<str>),
    Other(Box<Value>),
}

/// Names that every call has, which need not be kept by each.
const USUAL: [&str; 15] = [
    "activeflow.complete_count",
    "activeflow.flow_id",
    "activeflow.id",
    "activeflow.reference_activeflow_id",
    "activeflow.reference_id",
    "activeflow.reference_type",
    "call.account_sid",
    "call.caller_name",
    "call.digits",
    "call.direction",
    "call.forwarded_from",
    "call.from",
    "call.sid",
    "call.status",
    "call.to",
];

fn kept_name(name: &str) -> Cow<'static, str> {
    let usual = USUAL.iter().find(|usual| **usual == name);
    usual.map_or_else(|| Cow::Owned(name.to_owned()), |usual| Cow::Borrowed(*usual))
}

impl Slim {
    fn value(&self) -> Cow<'_, Value> {
        match self {
            Slim::Null => Cow::Owned(Value::Null),
            Slim::Count(count) => Cow::Owned(Value::from(*count)),
            Slim::Text(text) => Cow::Owned(Value::from(&**text)),
            Slim::Other(value) => Cow::Borrowed(value),
        }
    }
}

impl From<Value> for Slim {
    fn from(value: Value) -> Slim {
        match value {
            Value::Null => Slim::Null,
            Value::String(text) => Slim::Text(text.into()),
            Value::Number(number) if number.is_u64() => Slim::Count(number.as_u64().unwrap_or_default()),
            value => Slim::Other(Box::new(value)),
        }
    }
}

impl Few {
    /// Room is made for so many at once.
    const STEP: usize = 4;

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn get(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.0.get(self.place(name).ok()?).map(|(_, value)| value.value())
    }

    fn insert(&mut self, name: &str, value: Value) {
        let value = Slim::from(value);
        match self.place(name) {
            Ok(place) => {
                if let Some((_, old)) = self.0.get_mut(place) {
                    *old = value;
                }
            }
            Err(place) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(Few::STEP);
                }
                self.0.insert(place, (kept_name(name), value));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, Value>)> {
        self.0.iter().map(|(name, value)| (&**name, value.value()))
    }
}

impl From<BTreeMap<String, Value>> for Few {
    fn from(map: BTreeMap<String, Value>) -> Few {
        Few(map.into_iter().map(|(name, value)| (kept_name(&name), value.into())).collect())
    }
}

impl From<Few> for BTreeMap<String, Value> {
    fn from(few: Few) -> BTreeMap<String, Value> {
        few.0.into_iter().map(|(name, value)| (name.into_owned(), value.value().into_owned())).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    #[error("variable `{name}` has {bytes} bytes, expected at most {VALUE_BYTES_MAX}")]
    Value { name: String, bytes: usize },
    #[error("expected at most {VARIABLES_MAX} variables, `{name}` would be one more")]
    Count { name: String },
    #[error("all variables together would have {bytes} bytes, expected at most {VARIABLES_BYTES_MAX}")]
    Total { bytes: usize },
}

/// True for names that only the runtime sets: `call`, `Call.digits`, `error[0]`.
pub fn is_reserved(name: &str) -> bool {
    let first = name.trim().split(['.', '[']).next().unwrap_or("");
    RESERVED.iter().any(|reserved| first.eq_ignore_ascii_case(reserved))
}

/// Bytes of a value as JSON text.
pub fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        _ => {
            let mut count = Count(0);
            // A counter can't fail, and every JSON value can be written.
            let _ = serde_json::to_writer(&mut count, value);
            count.0
        }
    }
}

/// A name of the runtime's without the older prefix, and under its present word. A workflow's own variables never had
/// that prefix.
pub fn canonical(name: &str) -> &str {
    let name = name.trim();
    let is_runtime =
        |bare: &&str| ["call", "activeflow"].contains(&bare.split(['.', '[']).next().unwrap_or(bare));
    let name = name.strip_prefix("voipbin.").filter(is_runtime).unwrap_or(name);
    if name == "call.caller_id" { "call.from" } else { name }
}

impl Vars {
    pub fn own(&self) -> &BTreeMap<String, Value> {
        &self.own
    }

    /// Own and runtime's names in one map, as the API shows them.
    pub fn shown(&self) -> Map<String, Value> {
        let own = self.own.iter().map(|(name, value)| (name.clone(), value.clone()));
        let runtime = self.runtime.iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        own.chain(runtime).collect()
    }

    /// The value at a path. The longest flat name wins; what remains of the path is followed into its value.
    pub fn look_up(&self, path: &str) -> Option<Cow<'_, Value>> {
        let path = canonical(path);
        if let Some(value) = self.flat(path) {
            return Some(value);
        }
        let mut end = path.len();
        for _ in 0..PATH_STEPS_MAX {
            end = path.get(..end)?.rfind(['.', '['])?;
            if let Some(value) = self.flat(path.get(..end)?) {
                return match value {
                    Cow::Borrowed(value) => follow(value, path.get(end..)?).map(Cow::Borrowed),
                    // A word or a number has nothing inside.
                    Cow::Owned(_) => None,
                };
            }
        }
        None
    }

    /// The value under exactly this name.
    pub(super) fn flat(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.runtime.get(name).or_else(|| self.own.get(name).map(Cow::Borrowed))
    }

    /// Whether these could be set, all of them, within the caps.
    pub fn admits<'v>(&self, sets: impl Iterator<Item = (&'v str, &'v Value)>) -> Result<(), CapError> {
        let (mut bytes, mut count) = (self.bytes, self.own.len());
        for (name, value) in sets {
            let size = json_bytes(value);
            if size > VALUE_BYTES_MAX {
                return Err(CapError::Value { name: name.to_owned(), bytes: size });
            }
            match self.own.get(name) {
                Some(old) => bytes = bytes.saturating_sub(json_bytes(old)) + size,
                None => {
                    count += 1;
                    bytes += size + name.len();
                }
            }
            if count > VARIABLES_MAX {
                return Err(CapError::Count { name: name.to_owned() });
            }
            if bytes > VARIABLES_BYTES_MAX {
                return Err(CapError::Total { bytes });
            }
        }
        Ok(())
    }

    pub fn set(&mut self, name: &str, value: Value) {
        let size = json_bytes(&value);
        match self.own.get_mut(name) {
            Some(old) => {
                self.bytes = self.bytes.saturating_sub(json_bytes(old)) + size;
                *old = value;
            }
            None => {
                self.bytes += size + name.len();
                self.own.insert(name.to_owned(), value);
            }
        }
    }

    /// What the runtime knows about the call.
    pub fn of_call(&self) -> impl Iterator<Item = (String, Value)> {
        let call = self.runtime.iter().filter(|(name, _)| name.starts_with("call."));
        call.map(|(name, value)| (name.to_owned(), value.into_owned()))
    }

    pub fn remove(&mut self, name: &str) {
        if let Some(old) = self.own.remove(name) {
            self.bytes = self.bytes.saturating_sub(json_bytes(&old) + name.len());
        }
    }

    pub fn set_runtime(&mut self, name: &str, value: Value) {
        self.runtime.insert(canonical(name), value);
    }

    /// Whether the runtime has said so already.
    pub fn knows(&self, name: &str, value: &Value) -> bool {
        self.runtime.get(name).is_some_and(|known| *known == *value)
    }
}

/// Follows `.key`, `[n]` and `["key"]` into a value.
fn follow<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let (mut value, mut rest) = (value, path);
    for _ in 0..PATH_STEPS_MAX {
        if rest.is_empty() {
            return Some(value);
        }
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            let (key, after) = tail.split_at_checked(end)?;
            value = value.get(key)?;
            rest = after;
        } else {
            let tail = rest.strip_prefix('[')?;
            let (inside, after) = tail.split_once(']')?;
            let inside = inside.trim();
            value = match inside.strip_prefix(['"', '\'']).and_then(|key| key.strip_suffix(['"', '\''])) {
                Some(key) => value.get(key)?,
                None => value.get(inside.parse::<usize>().ok()?)?,
            };
            rest = after;
        }
    }
    None
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_longest_flat_name_wins_and_the_rest_is_a_path() {
        let mut vars = Vars::default();
        vars.set("a", json!({"b": {"c": 1}, "list": [10, {"x y": 2}]}));
        vars.set("a.b", json!({"c": 3}));
        assert_eq!(vars.look_up("a.b.c").as_deref(), Some(&json!(3)));
        assert_eq!(vars.look_up("a.list[0]").as_deref(), Some(&json!(10)));
        assert_eq!(vars.look_up("a.list[1][\"x y\"]").as_deref(), Some(&json!(2)));
        assert_eq!(vars.look_up("a.list[7]"), None);
        assert_eq!(vars.look_up("a.list["), None);
        vars.set_runtime("call.from", json!("+1"));
        assert_eq!(vars.look_up("voipbin.call.caller_id").as_deref(), Some(&json!("+1")));
        assert_eq!(vars.look_up("voipbin.a.list[0]"), None);
    }

    #[test]
    fn the_caps_hold_to_the_byte() {
        let mut vars = Vars::default();
        let fits = Value::from("x".repeat(VALUE_BYTES_MAX - 2));
        assert!(vars.admits([("v", &fits)].into_iter()).is_ok());
        let over = Value::from("x".repeat(VALUE_BYTES_MAX - 1));
        assert!(matches!(vars.admits([("v", &over)].into_iter()), Err(CapError::Value { .. })));
        for n in 0..VARIABLES_MAX {
            vars.set(&format!("v{n}"), json!(n));
        }
        assert!(vars.admits([("v0", &json!(1))].into_iter()).is_ok());
        assert!(matches!(vars.admits([("more", &json!(1))].into_iter()), Err(CapError::Count { .. })));
        for n in 0..31 {
            vars.set(&format!("v{n}"), fits.clone());
        }
        let total = vars.bytes;
        assert!(total <= VARIABLES_BYTES_MAX);
        assert!(matches!(
            vars.admits([("v50", &fits), ("v51", &fits)].into_iter()),
            Err(CapError::Total { .. })
        ));
        vars.set("v0", json!(null));
        assert!(vars.bytes < total);
    }
}
