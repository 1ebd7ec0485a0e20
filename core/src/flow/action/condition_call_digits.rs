//! `condition_call_digits`: an older form; goes on when enough digits came, or a certain one.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::script::ActionNode;
use crate::flow::substitute::as_text;

pub struct ConditionCallDigits;

impl Action for ConditionCallDigits {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn reads_digits(&self, _node: &ActionNode) -> bool {
        true
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let digits = scene.vars.look_up("call.digits").map(|value| as_text(&value)).unwrap_or_default();
        let length = scene.parameters.amount("length").filter(|length| *length > 0);
        let key = scene.parameters.word("key");
        let count = u64::try_from(digits.chars().count()).unwrap_or(u64::MAX);
        let holds = match (length, key) {
            (None, None) => true,
            _ => length.is_some_and(|length| count >= length) || key.is_some_and(|key| digits.contains(key)),
        };
        Ok(scene.go_on_if(holds))
    }
}

static DECLARED: Declared = Declared {
    name: "condition_call_digits",
    aliases: &[],
    about: "An older form: goes on when enough digits came, or a certain one, else to another action.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "length",
            aliases: &[],
            shape: Shape::Integer { min: 0, max: 1000 },
            required: false,
            about: "At least so many digits; 0: not asked.",
        },
        Parameter {
            name: "key",
            aliases: &[],
            shape: Shape::Keys { alphabet: "0123456789ABCD*#", max: 16 },
            required: false,
            about: "These, one after the other, among the digits.",
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
