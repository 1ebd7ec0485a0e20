//! `loop`: a list of actions for each item, or for ever.

use super::{Action, Done, Fault, Push, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::fact::{Pushed, Role};
use serde_json::Value;
use std::sync::Arc;

/// Items of one loop: each is a turn, and no flow has more steps in a row.
const ITEMS_MAX: usize = 100_000;

pub struct Loop;

impl Action for Loop {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let items = if scene.parameters.flag("loopForever", false) {
            None
        } else {
            let items = match scene.parameters.value("items") {
                Some(Value::Array(items)) => items.clone(),
                Some(Value::Object(map)) => {
                    map.iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value })).collect()
                }
                Some(other) => return Err(Fault::invalid(format!("`items`: expected a list, came {other}"))),
                None => return Err(Fault::invalid("`items` is missing, and `loopForever` is not true")),
            };
            if items.len() > ITEMS_MAX {
                return Err(Fault::invalid(format!(
                    "`items` has {}, expected at most {ITEMS_MAX}",
                    items.len()
                )));
            }
            if items.is_empty() {
                return Ok(Step::Done(Done::with(Value::from(0))));
            }
            Some(Arc::new(items))
        };
        Ok(Step::Push(Push {
            role: Role::Loop { items },
            ..Push::plain(Pushed::List("iteratee".to_owned()))
        }))
    }
}

static DECLARED: Declared = Declared {
    name: "loop",
    aliases: &[],
    about: "Runs a list of actions for each item, or for ever; gives the number of turns.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "items",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "A list; each turn has `${name.item}` and `${name.index}` (from 0).",
        },
        Parameter {
            name: "loopForever",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Turns until `loopBreak`, a jump out of it or the end.",
        },
        Parameter {
            name: "iteratee",
            aliases: &[],
            shape: Shape::Actions,
            required: true,
            about: "The actions of a turn.",
        },
    ],
    secrets: false,
};
