//! Variables that nothing sets. What callers and parents pass in cannot be known, so this only warns, and not at all in
//! a document that says what comes from outside.

use super::super::diagnostic::{Code, Notes};
use super::super::parse::{Draft, Mention, RESERVED_NAMES, is_dynamic, is_secret};
use super::super::source::quoted;
use super::layout::Layout;
use serde_json::Value;
use std::collections::BTreeSet;

/// Written by the runtime.
const RUNTIME: &[&str] = &[
    "call.sid",
    "call.from",
    "call.to",
    "call.direction",
    "call.status",
    "call.account_sid",
    "call.caller_name",
    "call.forwarded_from",
    "call.digits",
    "call.duration",
    "call.end_reason",
    "activeflow.id",
    "activeflow.flow_id",
    "activeflow.reference_type",
    "activeflow.reference_id",
    "activeflow.reference_activeflow_id",
    "activeflow.complete_count",
];

pub(super) fn check(layout: &Layout<'_>, draft: &Draft, notes: &mut Notes) {
    if draft.has_inputs {
        return;
    }
    let mut known: BTreeSet<&str> = RUNTIME.iter().copied().collect();
    known.extend(draft.script.triggers.iter().map(|trigger| trigger.name.as_str()));
    for flat in &layout.actions {
        known.insert(&flat.node.id);
        known.extend(flat.node.name.as_deref());
        if flat.node.kind == "variable_set" {
            match flat.node.parameters.get("key") {
                // Any name may be meant.
                Some(Value::String(key)) if is_dynamic(key) => return,
                Some(Value::String(key)) => _ = known.insert(key),
                _ => {}
            }
        }
    }
    let mentions = layout.actions.iter().flat_map(|flat| &flat.place.variables).chain(&draft.variables);
    for Mention { word, place } in mentions {
        if !is_set(word, &known) {
            let message = format!("nothing in this document sets the variable {}", quoted(word));
            notes.warning_near(place, Code::UnsetVariable, message, word, known.iter().copied());
        }
    }
}

fn is_set(name: &str, known: &BTreeSet<&str>) -> bool {
    let head = name.split(['.', '[']).next().unwrap_or(name);
    let is_of_runtime = RESERVED_NAMES.contains(&head);
    // Only the runtime's own two families are lists that can be looked up.
    // A secret is judged elsewhere.
    if is_secret(name) {
        return true;
    }
    if is_of_runtime && (!matches!(head, "call" | "activeflow") || name == head) {
        return true;
    }
    let ends = name.match_indices(['.', '[']).map(|(end, _)| end).chain([name.len()]);
    let is_part_of_known = ends.filter_map(|end| name.get(..end)).any(|part| known.contains(part));
    // `${order}` where `order.id` is set.
    let family = format!("{name}.");
    is_part_of_known || known.range(family.as_str()..).next().is_some_and(|known| known.starts_with(&family))
}
