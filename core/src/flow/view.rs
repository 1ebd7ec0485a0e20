//! A run as the API shows it.

use super::history::Entry;
use super::run::Run;
use super::script::{ActionNode, Dialect};
use super::stack::Frame;
use super::state::State;
use crate::secret;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

impl Run {
    /// The first step that is not done, if it runs.
    pub fn current(&self) -> Option<&Entry> {
        current(&self.state).filter(|_| self.state.over.is_none())
    }

    /// `GET /v1/activeflows/{id}`.
    pub fn view(&self) -> Value {
        let state = &self.state;
        let dialect = state.begun.script.dialect;
        let ended = state.history.entries().filter(|entry| entry.outcome.is_some());
        let mut view = state.row();
        view["executed_actions"] = ended.map(|entry| shown_entry(entry, dialect)).collect();
        view["executed_actions_dropped"] = json!(state.history.dropped());
        view["stack_map"] = stacks(state);
        view["variables"] = json!(state.vars.shown());
        view
    }
}

impl State {
    /// All of it but what is long: for lists, and for news.
    pub fn row(&self) -> Value {
        let begun = &self.begun;
        let over = self.over.as_ref();
        let dialect = begun.script.dialect;
        let on_complete =
            begun.on_complete.clone().or_else(|| begun.script.on_complete.clone().map(|id| id.0));
        json!({
            "id": begun.id,
            "flow_id": Some(&begun.script.id).filter(|id| !id.0.is_empty()),
            "status": if over.is_some() { "ended" } else { "running" },
            "end_reason": over.map(|over| over.reason),
            "end_detail": over.and_then(|over| over.detail.clone()),
            "reference_type": begun.reference.kind,
            "reference_id": begun.reference.id,
            "reference_activeflow_id": begun.parent,
            "retry_of": begun.retry_of,
            "complete_count": begun.complete_count,
            "on_complete_flow_id": on_complete,
            "current_action": current(self).map(|entry| shown_entry(entry, dialect)),
            "current_stack_id": self.frames.last().map(|frame| &frame.id),
            "outputs": over.map(|over| &over.outputs),
            "execute_count": self.executes,
            "tm_create": time(begun.at),
            "tm_update": time(self.updated_at),
            "tm_end": self.over_at.map(time),
        })
    }
}

/// The first step that is not done.
fn current(state: &State) -> Option<&Entry> {
    let step = state.pending.first().map(|pending| pending.step);
    state.history.entry(step.or_else(|| state.current.as_ref().map(|current| current.step))?)
}

fn shown_entry(entry: &Entry, dialect: Dialect) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(entry.node.id));
    shown.insert("type".to_owned(), json!(entry.node.kind));
    shown.insert("name".to_owned(), json!(entry.node.name));
    put_parameters(&mut shown, &without_secrets(&entry.parameters), dialect);
    shown.insert("started_at".to_owned(), time(entry.started_at));
    shown.insert("ended_at".to_owned(), entry.ended_at.map_or(Value::Null, time));
    shown.insert("outcome".to_owned(), json!(entry.outcome));
    if !entry.output.is_null() {
        shown.insert("output".to_owned(), entry.output.clone());
    }
    if let Some(error) = &entry.error {
        shown.insert("error".to_owned(), json!(error));
    }
    shown.insert("attempts".to_owned(), json!(entry.attempts));
    shown.insert("missing".to_owned(), json!(entry.missing));
    shown.insert("dropped".to_owned(), json!(entry.dropped));
    Value::Object(shown)
}

fn stacks(state: &State) -> Value {
    let dialect = state.begun.script.dialect;
    let mut stacks = Map::new();
    let mut below: Option<&str> = None;
    for Frame { id, list, index, return_action, .. } in &state.frames {
        let actions: Vec<Value> = list.nodes().iter().map(|node| shown_node(node, dialect)).collect();
        let stack = json!({
            "actions": actions,
            "current_index": index,
            "return_stack": below,
            "return_action": return_action,
        });
        stacks.insert(id.clone(), stack);
        below = Some(id);
    }
    Value::Object(stacks)
}

fn shown_node(node: &ActionNode, dialect: Dialect) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(node.id));
    shown.insert("type".to_owned(), json!(node.kind));
    shown.insert("name".to_owned(), json!(node.name));
    if let Some(text) = &node.label {
        shown.insert("label".to_owned(), json!(text));
    }
    put_parameters(&mut shown, &node.parameters, dialect);
    if let Some(next) = &node.next {
        shown.insert("next".to_owned(), json!(next));
    }
    Value::Object(shown)
}

fn without_secrets(parameters: &Map<String, Value>) -> Map<String, Value> {
    parameters.iter().map(|(name, value)| (name.clone(), secret::shown_value(value))).collect()
}

/// Answers about a document of the other dialect carry its word for parameters too.
fn put_parameters(shown: &mut Map<String, Value>, parameters: &Map<String, Value>, dialect: Dialect) {
    if dialect == Dialect::Actions {
        shown.insert("option".to_owned(), Value::Object(parameters.clone()));
    }
    shown.insert("parameters".to_owned(), Value::Object(parameters.clone()));
}

/// RFC 3339, UTC, milliseconds.
fn time(wall_ms: u64) -> Value {
    let stamp = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or(Value::Null, |stamp| Value::String(stamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()))
}
