//! A workflow as it is drawn: its actions in order, and where each of them may lead.

use super::action;
use super::check::falls_through;
use super::declare::{Declared, Parameter, Shape};
use super::script::{ActionNode, OnError, Script};
use crate::secret;
use serde_json::{Map, Value, json};

/// For `GET …/outline`. Every target is the id of the action that it means from where it is named.
pub fn outline(script: &Script) -> Value {
    let actions = action::declared();
    let is_main = !script.triggers.is_empty();
    let mut outline = Outline { actions, is_main, around: Vec::new() };
    let triggers: Vec<Value> =
        script.triggers.iter().map(|trigger| json!({ "type": trigger.kind, "name": trigger.name })).collect();
    json!({ "label": script.label, "triggers": triggers, "actions": outline.list(&script.actions) })
}

struct Outline<'s> {
    actions: Vec<&'static Declared>,
    is_main: bool,
    /// The lists that can be seen from where we stand, the outermost first.
    around: Vec<&'s [ActionNode]>,
}

impl<'s> Outline<'s> {
    fn list(&mut self, nodes: &'s [ActionNode]) -> Vec<Value> {
        self.around.push(nodes);
        let drawn = nodes.iter().map(|node| self.action(node)).collect();
        self.around.pop();
        drawn
    }

    fn action(&mut self, node: &'s ActionNode) -> Value {
        let next = node.next.as_ref().and_then(|word| self.resolve(word));
        let falls = next.is_none() && falls_through(node, self.is_main);
        let jumps = self.jumps(node);
        let lists: Vec<Value> = node
            .lists
            .iter()
            .map(|(name, nodes)| json!({ "label": list_label(node, name), "actions": self.list(nodes) }))
            .collect();
        let parameters: Map<String, Value> =
            node.parameters.iter().map(|(name, value)| (name.clone(), secret::shown_value(value))).collect();
        json!({
            "id": node.id,
            "type": node.kind,
            "name": node.name,
            "label": node.label,
            "parameters": parameters,
            "when": node.when,
            "next": next,
            "falls_through": falls,
            "jumps": jumps,
            "lists": lists,
        })
    }

    /// Where it may lead besides the action after it, with the words for when.
    fn jumps(&self, node: &ActionNode) -> Vec<Value> {
        let declared = self.actions.iter().find(|declared| declared.name == node.kind);
        let mut jumps = Vec::new();
        for Parameter { name, shape, .. } in declared.iter().flat_map(|declared| declared.parameters) {
            match (shape, node.parameters.get(*name)) {
                (Shape::Target, Some(Value::String(word))) => {
                    jumps.extend(self.jump(jump_label(node, name), word));
                }
                (Shape::MapOf(Shape::Target), Some(Value::Object(targets))) => {
                    for (value, word) in targets {
                        let label = if value.is_empty() { "nothing".to_owned() } else { value.clone() };
                        jumps.extend(word.as_str().and_then(|word| self.jump(label, word)));
                    }
                }
                _ => {}
            }
        }
        if let Some(OnError::Goto(word)) = &node.on_error {
            jumps.extend(self.jump("on error".to_owned(), word));
        }
        jumps
    }

    fn jump(&self, label: String, word: &str) -> Option<Value> {
        self.resolve(word).map(|to| json!({ "label": label, "to": to }))
    }

    /// The id that a word means here; none where it is known only when it runs.
    fn resolve(&self, word: &str) -> Option<&'s str> {
        let is_it = |node: &&ActionNode| node.id == word || node.name.as_deref() == Some(word);
        let found = self.around.iter().rev().find_map(|list| list.iter().find(is_it));
        found.map(|node| node.id.as_str())
    }
}

fn jump_label(node: &ActionNode, parameter: &str) -> String {
    match parameter {
        "default_target_id" => "otherwise".to_owned(),
        "false_target_id" => "if not".to_owned(),
        _ => match node.parameters.get("loop_count").and_then(Value::as_i64) {
            Some(most) if most >= 0 => format!("at most {most}×"),
            _ => "always".to_owned(),
        },
    }
}

fn list_label(node: &ActionNode, name: &str) -> String {
    let case = name.strip_prefix("cases[").and_then(|rest| rest.strip_suffix("].tasks"));
    if let Some(case) = case.and_then(|case| case.parse::<usize>().ok()) {
        let key = node.parameters.get("cases").and_then(|cases| cases.get(case)?.get("key"));
        return match key {
            Some(Value::String(key)) => key.clone(),
            Some(key) => key.to_string(),
            None => format!("case {}", case + 1),
        };
    }
    let label = match name {
        "caseTrue" => "if so",
        "caseFalse" => "if not",
        "default" => "otherwise",
        "iteratee" => "each turn",
        "main-branch" => "tried",
        "on-error-branch" => "on error",
        "wait_flow" => "while waiting",
        other => other,
    };
    label.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::parse::{self, Language};
    use crate::limit::Limits;

    fn drawn(text: &str) -> Value {
        let (actions, limits) = (action::declared(), Limits::default());
        let language = Language::new(&actions, action::LATER, &limits);
        let parsed = parse::parse(&language, "menu.yaml", "menu", text);
        outline(&parsed.script.unwrap_or_else(|| panic!("{:?}", parsed.report)))
    }

    #[test]
    fn it_says_where_every_action_leads() {
        let outline = drawn(
            "triggers: [{ type: twilio/inboundCall, name: came, parameters: { subWorkflow: x } }]
tasks:
  - { id: a, type: branch, parameters: { variable: v, target_ids: { 1: c, '': named }, default_target_id: a } }
  - { id: b, name: named, type: empty, next: a, on_error: { goto: c } }
  - { id: c, type: goto, parameters: { target_id: b, loop_count: 3 } }
  - { id: d, type: stop }
  - { id: e, type: goto, parameters: { target_id: '${v}', loop_count: -1 } }
",
        );
        let at = |index: usize| outline["actions"][index].clone();
        assert_eq!(outline["triggers"], json!([{ "type": "twilio/inboundCall", "name": "came" }]));
        assert_eq!(
            at(0)["jumps"],
            json!([
                { "label": "1", "to": "c" }, { "label": "nothing", "to": "b" }, { "label": "otherwise", "to": "a" }
            ])
        );
        assert_eq!((&at(1)["next"], &at(1)["falls_through"]), (&json!("a"), &json!(false)));
        assert_eq!(at(1)["jumps"], json!([{ "label": "on error", "to": "c" }]));
        assert_eq!(at(2)["jumps"], json!([{ "label": "at most 3×", "to": "b" }]));
        let falls: Vec<Value> = (0..5).map(|index| at(index)["falls_through"].clone()).collect();
        assert_eq!(falls, [false, false, true, false, false]);
        assert_eq!(at(4)["jumps"], json!([]), "known only when it runs");
    }

    #[test]
    fn nested_lists_have_words_and_see_what_is_around_them() {
        let outline = drawn(
            "tasks:
  - { id: a, type: empty }
  - id: b
    type: branch
    parameters:
      expression: =1
      cases: [{ key: 1, tasks: [{ id: c, type: goto, parameters: { target_id: a, loop_count: 1 } }] }]
      default: [{ id: d, type: loop, parameters: { loopForever: true, iteratee: [{ id: e, type: loopBreak, next: a }] } }]
",
        );
        let lists = &outline["actions"][1]["lists"];
        assert_eq!((&lists[0]["label"], &lists[1]["label"]), (&json!("1"), &json!("otherwise")));
        assert_eq!(lists[0]["actions"][0]["jumps"][0]["to"], "a");
        let turn = &lists[1]["actions"][0]["lists"][0];
        assert_eq!((&turn["label"], &turn["actions"][0]["next"]), (&json!("each turn"), &json!("a")));
    }
}
