//! `condition`: one of two lists of actions, by an expression or by a list of comparisons.

use super::comparison::number;
use super::{Action, Done, Fault, Parameters, Push, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::expression;
use crate::flow::fact::Pushed;
use crate::flow::substitute::as_text;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;
use std::cmp::Ordering;

pub struct Condition;

impl Action for Condition {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let list = if holds(&scene.parameters)? { "caseTrue" } else { "caseFalse" };
        Ok(match scene.node.lists.get(list) {
            Some(actions) if !actions.is_empty() => Step::Push(Push::plain(Pushed::List(list.to_owned()))),
            _ => Step::Done(Done::default()),
        })
    }
}

fn holds(parameters: &Parameters<'_>) -> Result<bool, Fault> {
    // Without the flag, an expression alone speaks for itself.
    let has_terms = parameters.value("conditions").is_some();
    if parameters.flag("rawExpression", !has_terms) {
        return match parameters.value("expression") {
            Some(Value::Bool(holds)) => Ok(*holds),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(other) => Err(Fault::invalid(format!("`expression`: expected true or false, came {other}"))),
            None => Err(Fault::invalid("`expression` is missing or null")),
        };
    }
    // An empty OR is false, an empty AND true.
    for all in parameters.list("conditions") {
        let Value::Array(terms) = all else {
            return Err(Fault::invalid("`conditions`: expected a list of lists"));
        };
        let mut holds = true;
        for term in terms {
            holds = holds && term_holds(term)?;
        }
        if holds {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A value of another type than the term asks for makes it false.
fn term_holds(term: &Value) -> Result<bool, Fault> {
    let text = |key: &str| term.get(key).and_then(Value::as_str).unwrap_or("");
    let value = |key: &str| term.get(key).unwrap_or(&Value::Null);
    let (first, second) = (value("value1"), value("value2"));
    let operation = text("operation");
    if matches!(operation, "EMPTY" | "NOT_EMPTY") {
        // Nothing and an empty text are of any type; whatever else is of another one makes both false.
        let is_empty = first.is_null() || first.as_str().is_some_and(str::is_empty);
        let is_of_type = match text("type") {
            "boolean" => flag(first).is_some(),
            "number" => numeric(first).is_some(),
            "dateTime" => instant(first).is_some(),
            _ => first.is_string(),
        };
        return Ok(if operation == "EMPTY" { is_empty } else { !is_empty && is_of_type });
    }
    let ordered = |order: Option<Ordering>| {
        order.is_some_and(|order| match operation {
            "EQUALS" => order.is_eq(),
            "NOT_EQUALS" => order.is_ne(),
            "LESS" | "BEFORE" => order.is_lt(),
            "LESS_EQUALS" => order.is_le(),
            "GREATER" | "AFTER" => order.is_gt(),
            "GREATER_EQUALS" => order.is_ge(),
            _ => false,
        })
    };
    Ok(match text("type") {
        "boolean" => match (flag(first), flag(second)) {
            (Some(a), Some(b)) => ordered(Some(a.cmp(&b))),
            _ => false,
        },
        "number" => match (numeric(first), numeric(second)) {
            (Some(a), Some(b)) => ordered(a.partial_cmp(&b)),
            _ => false,
        },
        "dateTime" => match (instant(first), instant(second)) {
            (Some(a), Some(b)) => ordered(Some(a.cmp(&b))),
            _ => false,
        },
        _ => match (first.as_str(), plain(second)) {
            (Some(a), Some(b)) => match operation {
                "EQUALS_IGNORE_CASE" => a.to_lowercase() == b.to_lowercase(),
                "CONTAINS" => a.contains(&b),
                "NOT_CONTAINS" => !a.contains(&b),
                "STARTS_WITH" => a.starts_with(&b),
                "ENDS_WITH" => a.ends_with(&b),
                "REGEX" => {
                    let whole = format!("^(?:{b})$");
                    expression::pattern(&whole).map_err(Fault::invalid)?.is_match(a)
                }
                _ => ordered(Some(a.cmp(b.as_str()))),
            },
            _ => false,
        },
    })
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn numeric(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| number(value.as_str()?))
}

/// What a document gives to compare with may be written without quotes.
fn plain(value: &Value) -> Option<String> {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)).then(|| as_text(value))
}

/// RFC 3339; without an offset it is UTC.
fn instant(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?.trim();
    let zoned = || text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp());
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse::<Timestamp>().ok().or_else(zoned).or_else(civil)
}

pub const OPERATIONS: &[&str] = &[
    "EQUALS",
    "NOT_EQUALS",
    "EQUALS_IGNORE_CASE",
    "CONTAINS",
    "NOT_CONTAINS",
    "STARTS_WITH",
    "ENDS_WITH",
    "REGEX",
    "EMPTY",
    "NOT_EMPTY",
    "LESS",
    "LESS_EQUALS",
    "GREATER",
    "GREATER_EQUALS",
    "BEFORE",
    "AFTER",
];

static TERM: [Parameter; 4] = [
    Parameter {
        name: "type",
        aliases: &[],
        shape: Shape::OneOf(&["boolean", "dateTime", "number", "string"]),
        required: true,
        about: "As what the values are compared.",
    },
    Parameter { name: "value1", aliases: &[], shape: Shape::Any, required: false, about: "The one value." },
    Parameter {
        name: "operation",
        aliases: &[],
        shape: Shape::OneOf(OPERATIONS),
        required: true,
        about: "How they compare.",
    },
    Parameter { name: "value2", aliases: &[], shape: Shape::Any, required: false, about: "The other one." },
];

static DECLARED: Declared = Declared {
    name: "condition",
    aliases: &[],
    about: "Runs one of two lists of actions.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "rawExpression",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The expression decides, not the conditions.",
        },
        Parameter {
            name: "expression",
            aliases: &[],
            shape: Shape::Expression,
            required: false,
            about: "True or false; with or without its `=`.",
        },
        Parameter {
            name: "conditions",
            aliases: &[],
            shape: Shape::ListOf(&Shape::ListOf(&Shape::Object(&TERM))),
            required: false,
            about: "One of these lists must hold, with all of its terms.",
        },
        Parameter {
            name: "caseTrue",
            aliases: &[],
            shape: Shape::Actions,
            required: false,
            about: "When it holds.",
        },
        Parameter {
            name: "caseFalse",
            aliases: &[],
            shape: Shape::Actions,
            required: false,
            about: "When it does not.",
        },
    ],
    secrets: false,
};
