//! One evaluation: parts to a value, every step and every byte counted.

use super::compile::regex_of;
use super::functions::Function;
use super::{Each, MACRO_ITEMS_MAX, Name, Part, Two};
use crate::flow::action::Fault;
use crate::flow::substitute::as_text;
use crate::flow::vars::{Vars, json_bytes};
use crate::limit::VARIABLES_BYTES_MAX;
use regex::Regex;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Steps of one evaluation: enough to compare a thousand items with a thousand others, and over in a moment.
const STEPS_MAX: u64 = 4_000_000;
/// Bytes that one evaluation may make: a few times what all variables together may hold.
const MADE_BYTES_MAX: usize = 8 * VARIABLES_BYTES_MAX;
/// Bytes of text that are looked through for the price of one step.
const BYTES_A_STEP: usize = 32;
/// Bytes of a pattern that make it one state slower.
const BYTES_A_STATE: usize = 8;
/// What a pattern's compilation costs: milliseconds at worst, so that one evaluation has time for a score of them.
const PATTERN_STEPS: u64 = STEPS_MAX / 20;

pub fn evaluate(root: &Part, vars: &Vars) -> Result<Value, Fault> {
    let evaluation =
        Evaluation { vars, steps: Cell::new(0), made: Cell::new(0), patterns: RefCell::new(BTreeMap::new()) };
    let value = evaluation.part(root, None)?;
    evaluation.own(value)
}

struct Evaluation<'v> {
    vars: &'v Vars,
    steps: Cell<u64>,
    made: Cell<usize>,
    patterns: RefCell<BTreeMap<String, Regex>>,
}

/// The items of the macros around, innermost first.
struct Item<'s> {
    value: &'s Value,
    out: Option<&'s Item<'s>>,
}

type Found<'s> = Result<Cow<'s, Value>, Fault>;

impl<'v> Evaluation<'v> {
    fn part<'s>(&self, part: &'s Part, items: Option<&'s Item<'s>>) -> Found<'s>
    where
        'v: 's,
    {
        self.spend(1)?;
        Ok(match part {
            Part::Literal(value) => Cow::Borrowed(value),
            Part::Name(name) => self.found(self.name(name)?)?,
            Part::Path { path, fallback } => match (self.vars.look_up(path), fallback) {
                (found, Some(fallback)) if found.as_deref().is_none_or(Value::is_null) => {
                    Cow::Owned(Value::from(fallback.as_str()))
                }
                (Some(value), _) => self.found(value)?,
                (None, _) => return Err(Fault::invalid(format!("there is no variable `{path}`"))),
            },
            Part::Item(out) => {
                let mut item = items;
                for _ in 0..*out {
                    item = item.and_then(|item| item.out);
                }
                Cow::Borrowed(item.ok_or_else(|| Fault::invalid("there is no such item"))?.value)
            }
            Part::Field(of, field) => self.field(self.part(of, items)?, field)?,
            Part::Index(both) => {
                let index = self.part(&both.1, items)?;
                self.index(self.part(&both.0, items)?, &index)?
            }
            Part::Has(path) => Cow::Owned(Value::Bool(self.has(path, items)?)),
            Part::List(parts) => {
                let mut list = Vec::with_capacity(parts.len());
                for part in parts {
                    list.push(self.own(self.part(part, items)?)?);
                }
                Cow::Owned(Value::Array(list))
            }
            Part::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let key = key_of(&*self.part(key, items)?)?;
                    let value = self.own(self.part(value, items)?)?;
                    map.insert(key, value);
                }
                Cow::Owned(Value::Object(map))
            }
            Part::Not(of) => Cow::Owned(Value::Bool(!flag(&*self.part(of, items)?, "!")?)),
            Part::Minus(of) => {
                let value = self.part(of, items)?;
                Cow::Owned(match numeric(&value) {
                    Some(Numeric::Whole(n)) => Value::from(n.checked_neg().ok_or_else(too_large)?),
                    Some(Numeric::Double(n)) => double(-n)?,
                    None => return Err(misfit("-", &[&value])),
                })
            }
            Part::All(parts) => Cow::Owned(Value::Bool(self.decided(parts, items, false)?)),
            Part::Any(parts) => Cow::Owned(Value::Bool(self.decided(parts, items, true)?)),
            Part::Choose(three) => {
                let chosen = flag(&*self.part(&three.0, items)?, "?")?;
                self.part(if chosen { &three.1 } else { &three.2 }, items)?
            }
            Part::Chain(first, rest) => {
                let mut value = self.part(first, items)?;
                for (two, right) in rest {
                    let right = self.part(right, items)?;
                    value = Cow::Owned(self.two(*two, value, right)?);
                }
                value
            }
            Part::Call(function, parts) => {
                let mut arguments = Vec::with_capacity(parts.len());
                for part in parts {
                    arguments.push(self.part(part, items)?);
                }
                let arguments: Vec<&Value> = arguments.iter().map(|argument| &**argument).collect();
                Cow::Owned(self.call(*function, &arguments)?)
            }
            Part::Each(each, of, bodies) => Cow::Owned(self.each(*each, of, bodies, items)?),
        })
    }

    fn spend(&self, steps: u64) -> Result<(), Fault> {
        let spent = self.steps.get().saturating_add(steps);
        self.steps.set(spent);
        if spent > STEPS_MAX {
            return Err(Fault::invalid(format!("the expression takes more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    fn look_through(&self, bytes: usize) -> Result<(), Fault> {
        self.spend(u64::try_from(bytes / BYTES_A_STEP).unwrap_or(u64::MAX))
    }

    fn make(&self, bytes: usize) -> Result<(), Fault> {
        let made = self.made.get().saturating_add(bytes);
        self.made.set(made);
        if made > MADE_BYTES_MAX {
            return Err(Fault::invalid(format!("the expression makes more than {MADE_BYTES_MAX} bytes")));
        }
        self.look_through(bytes)
    }

    fn own(&self, value: Cow<'_, Value>) -> Result<Value, Fault> {
        if let Cow::Borrowed(value) = &value {
            self.make(json_bytes(value))?;
        }
        Ok(value.into_owned())
    }

    /// A variable's value. What had to be made for the asking counts as made.
    fn found<'s>(&self, value: Cow<'s, Value>) -> Found<'s> {
        if let Cow::Owned(value) = &value {
            self.make(json_bytes(value))?;
        }
        Ok(value)
    }

    /// The longest flat name; what remains of the path is followed into its value.
    fn name(&self, name: &Name) -> Found<'v> {
        let vars: &'v Vars = self.vars;
        for (at, end) in name.ends.iter().enumerate().rev() {
            let Some(mut value) = name.text.get(..*end).and_then(|flat| vars.flat(flat)) else { continue };
            let mut start = *end;
            for end in name.ends.iter().skip(at + 1) {
                let field = name.text.get(start + 1..*end).unwrap_or("");
                let inside = match value {
                    Cow::Borrowed(value) => value.get(field),
                    // A word or a number of the runtime's has nothing inside.
                    Cow::Owned(_) => None,
                };
                value = inside.map(Cow::Borrowed).ok_or_else(|| {
                    Fault::invalid(format!(
                        "there is no `{field}` in `{}`",
                        name.text.get(..start).unwrap_or("")
                    ))
                })?;
                start = *end;
            }
            return Ok(value);
        }
        Err(Fault::invalid(format!("there is no variable `{}`", name.text)))
    }

    fn field<'s>(&self, of: Cow<'s, Value>, field: &str) -> Found<'s> {
        let missing = || Fault::invalid(format!("there is no `{field}` in it"));
        match of {
            Cow::Borrowed(Value::Object(map)) => map.get(field).map(Cow::Borrowed).ok_or_else(missing),
            Cow::Owned(Value::Object(mut map)) => map.swap_remove(field).map(Cow::Owned).ok_or_else(missing),
            other => Err(Fault::invalid(format!("`{field}` is asked of {}, expected a map", kind(&other)))),
        }
    }

    fn index<'s>(&self, of: Cow<'s, Value>, index: &Value) -> Found<'s> {
        if let Value::Object(_) = &*of {
            return self.field(of, &key_of(index)?);
        }
        let Value::Array(list) = &*of else {
            return Err(Fault::invalid(format!(
                "an item is asked of {}, expected a list or a map",
                kind(&of)
            )));
        };
        let at = match numeric(index) {
            Some(Numeric::Whole(at)) => usize::try_from(at).ok(),
            Some(Numeric::Double(at)) => whole(at).and_then(|at| usize::try_from(at).ok()),
            None => {
                return Err(Fault::invalid(format!("a list has no item {}, expected a number", kind(index))));
            }
        };
        let Some(at) = at.filter(|at| *at < list.len()) else {
            return Err(Fault::invalid(format!("the list has {} items, item {index} is asked", list.len())));
        };
        match of {
            Cow::Borrowed(list) => list.get(at).map(Cow::Borrowed),
            Cow::Owned(Value::Array(mut list)) => Some(Cow::Owned(list.swap_remove(at))),
            Cow::Owned(_) => None,
        }
        .ok_or_else(|| Fault::invalid("there is no such item"))
    }

    /// Whether a path leads somewhere; that it is asked of no map is no error.
    fn has<'s>(&self, path: &'s Part, items: Option<&'s Item<'s>>) -> Result<bool, Fault>
    where
        'v: 's,
    {
        self.spend(1)?;
        Ok(match path {
            Part::Name(name) => self.name(name).is_ok(),
            Part::Path { path, .. } => self.vars.look_up(path).is_some(),
            Part::Field(of, field) => self.has(of, items)? && self.part(of, items)?.get(field).is_some(),
            Part::Index(both) => {
                let index = self.part(&both.1, items)?;
                self.has(&both.0, items)? && self.index(self.part(&both.0, items)?, &index).is_ok()
            }
            Part::Item(_) => true,
            _ => {
                self.part(path, items)?;
                true
            }
        })
    }

    /// `&&` (until one is false) and `||` (until one is true). One that decides stands, even beside one that fails.
    fn decided<'s>(
        &self,
        parts: &'s [Part],
        items: Option<&'s Item<'s>>,
        decider: bool,
    ) -> Result<bool, Fault>
    where
        'v: 's,
    {
        let mut fault = None;
        for part in parts {
            let operator = if decider { "||" } else { "&&" };
            match self.part(part, items).and_then(|value| flag(&value, operator)) {
                Ok(value) if value == decider => return Ok(decider),
                Ok(_) => {}
                Err(error) => _ = fault.get_or_insert(error),
            }
        }
        fault.map_or(Ok(!decider), Err)
    }

    fn two(&self, two: Two, left: Cow<'_, Value>, right: Cow<'_, Value>) -> Result<Value, Fault> {
        Ok(match two {
            Two::Equal => Value::Bool(self.equal(&left, &right)?),
            Two::Unequal => Value::Bool(!self.equal(&left, &right)?),
            Two::Less => Value::Bool(self.order(&left, &right, "<")?.is_lt()),
            Two::LessOrEqual => Value::Bool(self.order(&left, &right, "<=")?.is_le()),
            Two::Greater => Value::Bool(self.order(&left, &right, ">")?.is_gt()),
            Two::GreaterOrEqual => Value::Bool(self.order(&left, &right, ">=")?.is_ge()),
            Two::In => match &*right {
                Value::Array(list) => {
                    let mut found = false;
                    for item in list {
                        self.spend(1)?;
                        if self.equal(&left, item)? {
                            found = true;
                            break;
                        }
                    }
                    Value::Bool(found)
                }
                Value::Object(map) => Value::Bool(key_of(&left).is_ok_and(|key| map.contains_key(&key))),
                _ => return Err(misfit("in", &[&left, &right])),
            },
            Two::Add => match (left, right) {
                (left, right) if left.is_string() && right.is_string() => {
                    let (a, b) = (left.as_str().unwrap_or(""), right.as_str().unwrap_or(""));
                    self.make(a.len() + b.len())?;
                    Value::String([a, b].concat())
                }
                (left, right) if left.is_array() && right.is_array() => {
                    let (left, right) = (self.own(left)?, self.own(right)?);
                    match (left, right) {
                        (Value::Array(mut list), Value::Array(mut more)) => {
                            self.spend(u64::try_from(more.len()).unwrap_or(u64::MAX))?;
                            list.append(&mut more);
                            Value::Array(list)
                        }
                        _ => Value::Null,
                    }
                }
                (left, right) => calculate(two, "+", &left, &right)?,
            },
            Two::Subtract => calculate(two, "-", &left, &right)?,
            Two::Multiply => calculate(two, "*", &left, &right)?,
            Two::Divide => calculate(two, "/", &left, &right)?,
            Two::Remainder => calculate(two, "%", &left, &right)?,
        })
    }

    /// Values of different kinds are different; numbers are equal by what they are, not by how they are written.
    fn equal(&self, left: &Value, right: &Value) -> Result<bool, Fault> {
        Ok(match (left, right) {
            (Value::Number(_), Value::Number(_)) => compare(left, right) == Some(Ordering::Equal),
            (Value::String(a), Value::String(b)) => {
                self.look_through(a.len().min(b.len()))?;
                a == b
            }
            (Value::Array(a), Value::Array(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b) {
                    self.spend(1)?;
                    if !self.equal(a, b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Object(a), Value::Object(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, a) in a {
                    self.spend(1)?;
                    match b.get(key) {
                        Some(b) if self.equal(a, b)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            _ => left == right,
        })
    }

    fn order(&self, left: &Value, right: &Value, operator: &str) -> Result<Ordering, Fault> {
        let order = match (left, right) {
            (Value::Number(_), Value::Number(_)) => compare(left, right),
            (Value::String(a), Value::String(b)) => {
                self.look_through(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        };
        order.ok_or_else(|| misfit(operator, &[left, right]))
    }

    fn each<'s>(
        &self,
        each: Each,
        of: &'s Part,
        bodies: &'s [Part],
        items: Option<&'s Item<'s>>,
    ) -> Result<Value, Fault>
    where
        'v: 's,
    {
        let of = self.part(of, items)?;
        // A map is gone through by its keys.
        let keys;
        let list: &[Value] = match &*of {
            Value::Array(list) => list,
            Value::Object(map) => {
                self.make(map.keys().map(String::len).sum())?;
                keys = map.keys().map(|key| Value::from(key.as_str())).collect::<Vec<_>>();
                &keys
            }
            other => {
                return Err(Fault::invalid(format!(
                    "expected a list or a map to go through, came {}",
                    kind(other)
                )));
            }
        };
        if list.len() > MACRO_ITEMS_MAX {
            let message =
                format!("expected at most {MACRO_ITEMS_MAX} items to go through, came {}", list.len());
            return Err(Fault::invalid(message));
        }
        let (mut made, mut count, mut fault) = (Vec::new(), 0_usize, None);
        for value in list {
            let item = Item { value, out: items };
            let Some(body) = bodies.first() else { break };
            if each == Each::Map && bodies.len() == 1 {
                made.push(self.own(self.part(body, Some(&item))?)?);
                continue;
            }
            let holds = self.part(body, Some(&item)).and_then(|value| flag(&value, "a macro"));
            let holds = match (each, holds) {
                (_, Ok(holds)) => holds,
                // One item that decides stands, even beside others that fail.
                (Each::All | Each::Exists, Err(error)) => {
                    fault.get_or_insert(error);
                    self.spend(1)?;
                    continue;
                }
                (_, Err(error)) => return Err(error),
            };
            match each {
                Each::All if !holds => return Ok(Value::Bool(false)),
                Each::Exists if holds => return Ok(Value::Bool(true)),
                Each::All | Each::Exists => {}
                Each::ExistsOne => count += usize::from(holds),
                Each::Filter if holds => made.push(self.own(Cow::Borrowed(value))?),
                Each::Map if holds => {
                    if let Some(body) = bodies.get(1) {
                        made.push(self.own(self.part(body, Some(&item))?)?);
                    }
                }
                Each::Filter | Each::Map => {}
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        Ok(match each {
            Each::All => Value::Bool(true),
            Each::Exists => Value::Bool(false),
            Each::ExistsOne => Value::Bool(count == 1),
            Each::Map | Each::Filter => Value::Array(made),
        })
    }

    fn call(&self, function: Function, arguments: &[&Value]) -> Result<Value, Fault> {
        let text = |at: usize| arguments.get(at).and_then(|value| value.as_str());
        let wrong = || misfit(name_of(function), arguments);
        let (first, second) = (text(0), text(1));
        self.look_through(first.map_or(0, str::len))?;
        Ok(match function {
            Function::Size => Value::from(match arguments.first() {
                Some(Value::String(text)) => text.chars().count(),
                Some(Value::Array(list)) => list.len(),
                Some(Value::Object(map)) => map.len(),
                _ => return Err(wrong()),
            }),
            Function::Contains => Value::Bool(first.ok_or_else(wrong)?.contains(second.ok_or_else(wrong)?)),
            Function::StartsWith => {
                Value::Bool(first.ok_or_else(wrong)?.starts_with(second.ok_or_else(wrong)?))
            }
            Function::EndsWith => Value::Bool(first.ok_or_else(wrong)?.ends_with(second.ok_or_else(wrong)?)),
            Function::Matches => {
                Value::Bool(self.matches(first.ok_or_else(wrong)?, second.ok_or_else(wrong)?)?)
            }
            Function::LowerAscii => self.text(first.ok_or_else(wrong)?.to_ascii_lowercase())?,
            Function::UpperAscii => self.text(first.ok_or_else(wrong)?.to_ascii_uppercase())?,
            Function::Trim => self.text(first.ok_or_else(wrong)?.trim().to_owned())?,
            Function::Split => {
                let most = optional_count(arguments.get(2)).ok_or_else(wrong)?;
                self.split(first.ok_or_else(wrong)?, second.ok_or_else(wrong)?, most)?
            }
            Function::Replace => {
                let most = optional_count(arguments.get(3)).ok_or_else(wrong)?;
                let (from, to) = (second.ok_or_else(wrong)?, text(2).ok_or_else(wrong)?);
                self.replace(first.ok_or_else(wrong)?, from, to, most)?
            }
            Function::Join => {
                let Some(Value::Array(list)) = arguments.first() else { return Err(wrong()) };
                let between = if arguments.len() > 1 { second.ok_or_else(wrong)? } else { "" };
                let mut pieces = Vec::with_capacity(list.len());
                for item in list {
                    pieces.push(item.as_str().ok_or_else(wrong)?);
                }
                let bytes =
                    pieces.iter().map(|piece| piece.len() + between.len()).fold(0, usize::saturating_add);
                self.make(bytes)?;
                Value::String(pieces.join(between))
            }
            Function::Substring => {
                let text = first.ok_or_else(wrong)?;
                let length = text.chars().count();
                let at = |at: usize| {
                    let number = arguments.get(at).and_then(|value| value.as_i64());
                    number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number <= length)
                };
                let start = at(1);
                let end = if arguments.len() > 2 { at(2) } else { Some(length) };
                match (start, end) {
                    (Some(start), Some(end)) if start <= end => {
                        self.text(text.chars().skip(start).take(end - start).collect())?
                    }
                    _ => {
                        let message =
                            format!("`substring` is asked for characters that a text of {length} has not");
                        return Err(Fault::invalid(message));
                    }
                }
            }
            Function::Text => match arguments.first() {
                Some(Value::Null) => self.text("null".to_owned())?,
                Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                    self.text(as_text(value))?
                }
                _ => return Err(wrong()),
            },
            Function::Whole => {
                match arguments.first() {
                    Some(Value::String(text)) => Value::from(text.trim().parse::<i64>().map_err(|_| {
                        Fault::invalid(format!("`int`: expected a whole number, came {text:?}"))
                    })?),
                    Some(value) => match numeric(value) {
                        Some(Numeric::Whole(number)) => Value::from(number),
                        Some(Numeric::Double(number)) => {
                            Value::from(whole(number.trunc()).ok_or_else(too_large)?)
                        }
                        None => return Err(wrong()),
                    },
                    None => return Err(wrong()),
                }
            }
            Function::Double => {
                match arguments.first() {
                    Some(Value::String(text)) => double(text.trim().parse().map_err(|_| {
                        Fault::invalid(format!("`double`: expected a number, came {text:?}"))
                    })?)?,
                    Some(value) => double(value.as_f64().ok_or_else(wrong)?)?,
                    None => return Err(wrong()),
                }
            }
        })
    }

    fn text(&self, text: String) -> Result<Value, Fault> {
        self.make(text.len())?;
        Ok(Value::String(text))
    }

    /// Whether the pattern is found anywhere in the text.
    fn matches(&self, text: &str, pattern: &str) -> Result<bool, Fault> {
        // A pattern is tried at every place of the text, in as many states as it has.
        let places = text.len().saturating_mul(1 + pattern.len() / BYTES_A_STATE);
        self.spend(u64::try_from(places).unwrap_or(u64::MAX))?;
        if let Some(regex) = self.patterns.borrow().get(pattern) {
            return Ok(regex.is_match(text));
        }
        self.spend(PATTERN_STEPS)?;
        let regex = regex_of(pattern).map_err(Fault::invalid)?;
        let matches = regex.is_match(text);
        self.patterns.borrow_mut().insert(pattern.to_owned(), regex);
        Ok(matches)
    }

    fn split(&self, text: &str, by: &str, most: usize) -> Result<Value, Fault> {
        // Each piece is a value of its own, however short.
        let pieces = if by.is_empty() { text.chars().count() } else { text.matches(by).count() + 1 };
        let pieces = pieces.min(most);
        self.make(text.len().saturating_add(pieces.saturating_mul(size_of::<Value>())))?;
        let list: Vec<Value> = match most {
            0 => Vec::new(),
            most if by.is_empty() => {
                let mut list: Vec<String> = text.chars().take(most - 1).map(String::from).collect();
                let rest: String = text.chars().skip(list.len()).collect();
                let plain = most == usize::MAX;
                if plain {
                    list = text.chars().map(String::from).collect();
                } else if !rest.is_empty() {
                    list.push(rest);
                }
                list.into_iter().map(Value::String).collect()
            }
            most => text.splitn(most, by).map(Value::from).collect(),
        };
        Ok(Value::Array(list))
    }

    fn replace(&self, text: &str, from: &str, to: &str, most: usize) -> Result<Value, Fault> {
        let found = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
        self.make(found.min(most).saturating_mul(to.len()).saturating_add(text.len()))?;
        Ok(Value::String(text.replacen(from, to, most)))
    }
}

enum Numeric {
    Whole(i64),
    Double(f64),
}

fn numeric(value: &Value) -> Option<Numeric> {
    let Value::Number(number) = value else { return None };
    number.as_i64().map(Numeric::Whole).or_else(|| number.as_f64().map(Numeric::Double))
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (numeric(left)?, numeric(right)?) {
        (Numeric::Whole(a), Numeric::Whole(b)) => Some(a.cmp(&b)),
        (Numeric::Whole(a), Numeric::Double(b)) => with_double(a, b),
        (Numeric::Double(a), Numeric::Whole(b)) => with_double(b, a).map(Ordering::reverse),
        (Numeric::Double(a), Numeric::Double(b)) => a.partial_cmp(&b),
    }
}

/// Exactly, also beyond 2^53, where a whole number has no double of its own.
fn with_double(a: i64, b: f64) -> Option<Ordering> {
    let near = (a as f64).partial_cmp(&b)?;
    match whole(b) {
        Some(b) if near == Ordering::Equal => Some(a.cmp(&b)),
        _ => Some(near),
    }
}

fn calculate(two: Two, operator: &str, left: &Value, right: &Value) -> Result<Value, Fault> {
    let wrong = || misfit(operator, &[left, right]);
    let (a, b) = match (numeric(left).ok_or_else(wrong)?, numeric(right).ok_or_else(wrong)?) {
        (Numeric::Whole(a), Numeric::Whole(b)) => {
            let result = match two {
                Two::Add => a.checked_add(b),
                Two::Subtract => a.checked_sub(b),
                Two::Multiply => a.checked_mul(b),
                Two::Divide | Two::Remainder if b == 0 => {
                    return Err(Fault::invalid(format!("`{a} {operator} 0` has no result")));
                }
                Two::Divide => a.checked_div(b),
                Two::Remainder => a.checked_rem(b),
                _ => None,
            };
            return result.map(Value::from).ok_or_else(too_large);
        }
        (Numeric::Whole(a), Numeric::Double(b)) => (a as f64, b),
        (Numeric::Double(a), Numeric::Whole(b)) => (a, b as f64),
        (Numeric::Double(a), Numeric::Double(b)) => (a, b),
    };
    double(match two {
        Two::Add => a + b,
        Two::Subtract => a - b,
        Two::Multiply => a * b,
        Two::Divide => a / b,
        Two::Remainder => a % b,
        _ => f64::NAN,
    })
}

/// JSON has no infinity and nothing that is no number.
fn double(number: f64) -> Result<Value, Fault> {
    Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| Fault::invalid("the result is no finite number"))
}

#[expect(clippy::cast_possible_truncation, reason = "checked against the type's own bounds just before")]
fn whole(number: f64) -> Option<i64> {
    // -2^63 and 2^63 are doubles; the second is one too many.
    const END: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-END..END).contains(&number)).then_some(number as i64)
}

fn too_large() -> Fault {
    Fault::invalid("the number is larger than 64 bits hold")
}

/// Negative counts mean: no bound. None for what is no whole number.
fn optional_count(value: Option<&&Value>) -> Option<usize> {
    match value {
        None => Some(usize::MAX),
        Some(value) => value.as_i64().map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
    }
}

fn flag(value: &Value, operator: &str) -> Result<bool, Fault> {
    value
        .as_bool()
        .ok_or_else(|| Fault::invalid(format!("`{operator}` takes true or false, came {}", kind(value))))
}

/// Keys of maps are text; numbers and flags are taken by their text, as in documents.
fn key_of(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(as_text(value)),
        other => Err(Fault::invalid(format!("a key of a map is text, came {}", kind(other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn misfit(operator: &str, values: &[&Value]) -> Fault {
    let kinds: Vec<&str> = values.iter().map(|value| kind(value)).collect();
    Fault::invalid(format!("`{operator}` can't be applied to {}", kinds.join(" and ")))
}

fn name_of(function: Function) -> &'static str {
    match function {
        Function::Contains => "contains",
        Function::StartsWith => "startsWith",
        Function::EndsWith => "endsWith",
        Function::Matches => "matches",
        Function::Size => "size",
        Function::LowerAscii => "lowerAscii",
        Function::UpperAscii => "upperAscii",
        Function::Trim => "trim",
        Function::Split => "split",
        Function::Replace => "replace",
        Function::Join => "join",
        Function::Substring => "substring",
        Function::Text => "string",
        Function::Whole => "int",
        Function::Double => "double",
    }
}
