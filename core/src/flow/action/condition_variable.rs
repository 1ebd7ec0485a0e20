//! `condition_variable`: goes on when a value compares as asked, else to another action.

use super::{Action, Fault, Scene, Step, comparison};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::substitute::as_text;
use serde_json::Value;

pub struct ConditionVariable;

impl Action for ConditionVariable {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let parameters = &scene.parameters;
        let operator = parameters.text("condition").unwrap_or("==");
        let value = as_text(parameters.value("variable").unwrap_or(&Value::Null));
        let order = match parameters.text("value_type").unwrap_or("string") {
            "number" => {
                let given = parameters.value("value_number").and_then(Value::as_f64).unwrap_or(0.0);
                // What is no number compares to none, not even as unequal.
                comparison::number(&value).and_then(|number| number.partial_cmp(&given))
            }
            "length" => {
                let given = parameters.amount("value_length").unwrap_or(0);
                Some(u64::try_from(value.chars().count()).unwrap_or(u64::MAX).cmp(&given))
            }
            _ => Some(value.as_str().cmp(parameters.text("value_string").unwrap_or(""))),
        };
        Ok(scene.go_on_if(order.is_some_and(|order| comparison::holds(operator, order))))
    }
}

static DECLARED: Declared = Declared {
    name: "condition_variable",
    aliases: &[],
    about: "Goes on when a value compares as asked, else to another action.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "variable",
            aliases: &[],
            shape: Shape::Any,
            required: true,
            about: "The value, as `${…}`.",
        },
        Parameter {
            name: "condition",
            aliases: &[],
            shape: Shape::OneOf(comparison::OPERATORS),
            required: false,
            about: "How it compares with the value given; `==` by default.",
        },
        Parameter {
            name: "value_type",
            aliases: &[],
            shape: Shape::OneOf(&["string", "number", "length"]),
            required: false,
            about: "As what: text by code points, a number, or the number of characters.",
        },
        Parameter {
            name: "value_string",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "For `string`.",
        },
        Parameter {
            name: "value_number",
            aliases: &[],
            shape: Shape::Number { min: f64::MIN, max: f64::MAX },
            required: false,
            about: "For `number`.",
        },
        Parameter {
            name: "value_length",
            aliases: &[],
            shape: Shape::Integer { min: 0, max: 9007199254740991 },
            required: false,
            about: "For `length`.",
        },
        Parameter {
            name: "false_target_id",
            aliases: &[],
            shape: Shape::Target,
            required: false,
            about: "Where to when it does not hold; without it, on to the next action.",
        },
    ],
    secrets: false,
};
