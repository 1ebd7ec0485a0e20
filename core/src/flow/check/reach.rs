//! Actions that nothing leads to.

use super::super::diagnostic::{Code, Notes};
use super::super::script::{ActionNode, OnError};
use super::layout::Layout;
use serde_json::Value;

pub(super) fn check(layout: &Layout<'_>, is_main: bool, notes: &mut Notes) {
    let mut reached = vec![false; layout.actions.len()];
    let mut ahead: Vec<usize> = layout.lists.first().and_then(|list| list.first).into_iter().collect();
    while let Some(index) = ahead.pop() {
        let (Some(flat), Some(mark)) = (layout.actions.get(index), reached.get_mut(index)) else { continue };
        if std::mem::replace(mark, true) {
            continue;
        }
        ahead.extend(flat.place.targets.iter().filter_map(|target| layout.resolve(flat.list, &target.word)));
        ahead.extend(flat.lists.iter().filter_map(|list| layout.lists.get(*list)?.first));
        if flat.node.next.is_none() && falls_through(flat.node, is_main) {
            ahead.extend(flat.after);
        }
    }
    for (index, flat) in layout.actions.iter().enumerate() {
        let is_reached = |index: usize| reached.get(index).copied().unwrap_or(true);
        // What stands inside an unreachable action goes without saying.
        let owner = layout.lists.get(flat.list).and_then(|list| list.owner);
        if !is_reached(index) && owner.is_none_or(is_reached) {
            let message = format!("nothing leads to this {:?}", flat.node.kind);
            notes.warning(&flat.place.place, Code::UnreachableAction, message);
        }
    }
}

/// Whether the action after it may follow. In doubt it may: this is for warnings.
pub(crate) fn falls_through(node: &ActionNode, is_main: bool) -> bool {
    let is_conditional = node.when.as_ref().is_some_and(|when| *when != Value::Bool(true));
    if is_conditional || node.on_error == Some(OnError::Continue) {
        return true;
    }
    match node.kind.as_str() {
        "stop" | "terminate" | "loopBreak" => false,
        // Where there is no call it is skipped.
        "hangup" => is_main,
        "goto" => node.parameters.get("loop_count").and_then(Value::as_i64) != Some(-1),
        // Without a match and without a default it is an error, which ends the run.
        "branch" if node.parameters.contains_key("expression") => true,
        "branch" => !node.parameters.contains_key("target_ids"),
        _ => true,
    }
}
