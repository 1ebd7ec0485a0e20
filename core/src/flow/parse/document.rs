//! The document around the actions.

use super::super::diagnostic::{Code, Place};
use super::super::script::{Dialect, MediaPreference, OnEnd, Output, Script, Trigger};
use super::super::source::{Node, Tree, quoted};
use super::super::stack::Laid;
use super::action::{IGNORED_KEYS, REFUSED_KEYS, without_version};
use super::fields::{Field, Fields};
use super::shape::Scope;
use super::{Draft, Mention, Reader, is_absent, is_reserved};
use crate::id::WorkflowId;
use crate::limit::Limits;
use serde_json::{Map, Value};

pub(crate) const KEYS: &[&str] = &[
    "id",
    "label",
    "name",
    "description",
    "detail",
    "triggers",
    "tasks",
    "actions",
    "inputs",
    "outputs",
    "on_complete",
    "on_complete_flow_id",
    "on_end",
    "media",
    "resume_phrase",
    "retry",
    "maxRetries",
    "timeout",
    "limits",
];

/// `/webhooks/twilio/status` is a route of its own: a workflow of this name could never be called.
const REFUSED_ID: &str = "twilio";

impl Reader<'_> {
    /// None when the text is no object at all; everything else is reported and read past.
    pub(super) fn document(&mut self, root: &Node, stem: &str) -> Option<Draft> {
        let mut fields = Fields::of(root, "", "an object (a workflow)", &mut self.notes)?;
        let id = self.workflow_id(&mut fields, stem);
        self.seed.clone_from(&id.0);
        let label = self.text_of(&mut fields, &["label", "name"]);
        let description = self.text_of(&mut fields, &["description", "detail"]);
        let dialect = if fields.has("actions") { Dialect::Actions } else { Dialect::Components };
        let (triggers, trigger_names) = self.triggers(&mut fields).into_iter().unzip();
        let (actions, places) = match fields.need(&["tasks", "actions"], &mut self.notes) {
            Some(field) => self.actions(field.node, &field.place.path, "actions"),
            None => Default::default(),
        };
        let inputs = self.inputs(&mut fields);
        let mut scope = Scope::new("outputs");
        let outputs = self.outputs(&mut fields, &mut scope);
        let on_complete = self.on_complete(&mut fields);
        let on_end = self.choice(&mut fields, "on_end", &[("hangup", OnEnd::Hangup), ("hold", OnEnd::Hold)]);
        let preferences = [("auto", MediaPreference::Auto), ("always", MediaPreference::Always)];
        let media = self.choice(&mut fields, "media", &preferences);
        let resume_phrase = self.text_of(&mut fields, &["resume_phrase"]);
        let retry = self.retry(&mut fields);
        let timeout_ms = self.timeout(&mut fields);
        let limits = self.limits(&mut fields);
        let extra = fields.take_extra();
        fields.take_ignored(IGNORED_KEYS, &mut self.notes);
        fields.take_ignored(&["type"], &mut self.notes);
        fields.refuse(REFUSED_KEYS, &mut self.notes);
        fields.finish(Code::UnknownKey, "key", KEYS, &mut self.notes);
        let has_inputs = match &inputs {
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            _ => false,
        };
        let script = Script {
            id,
            label,
            description,
            dialect,
            triggers,
            actions,
            inputs,
            outputs,
            on_complete,
            on_end,
            media,
            resume_phrase,
            retry,
            timeout_ms,
            limits,
            defaults: self.language.defaults.clone(),
            timezone: self.language.timezone.to_owned(),
            extra,
            laid: Laid::default(),
        };
        Some(Draft { script, actions: places, trigger_names, variables: scope.variables, has_inputs })
    }

    fn workflow_id(&mut self, fields: &mut Fields<'_>, stem: &str) -> WorkflowId {
        let written = fields.take(&["id"], &mut self.notes);
        let written = written.and_then(|field| self.word(&field).map(|word| (word, field.place)));
        let (word, place) = match written.filter(|(word, _)| !is_absent(word)) {
            Some((word, place)) => (word, place),
            None => (stem.to_owned(), fields.place.clone()),
        };
        if word == REFUSED_ID {
            self.notes.error(
                &place,
                Code::InvalidId,
                format!("the id {REFUSED_ID:?} is taken by a route of its own"),
            );
        } else if !is_workflow_id(&word) {
            let message = format!(
                "expected an id of 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit, got {}",
                quoted(&word)
            );
            self.notes.error(&place, Code::InvalidId, message);
        }
        let id = WorkflowId(word);
        self.spans.id = Some((id.clone(), place));
        id
    }

    fn triggers(&mut self, fields: &mut Fields<'_>) -> Vec<(Trigger, Place)> {
        let Some(field) = fields.take(&["triggers"], &mut self.notes) else { return Vec::new() };
        let Some(items) = self.list(&field, "a list of triggers") else { return Vec::new() };
        let mut triggers = Vec::new();
        for (index, item) in items.iter().enumerate() {
            triggers.extend(self.trigger(item, &format!("{}[{index}]", field.place.path)));
        }
        triggers
    }

    fn trigger(&mut self, node: &Node, path: &str) -> Option<(Trigger, Place)> {
        let mut fields = Fields::of(node, path, "a trigger", &mut self.notes)?;
        let kind = fields.need(&["type"], &mut self.notes);
        let kind = kind.and_then(|field| self.word(&field).map(|word| (without_version(&word), field.place)));
        let declared = kind.as_ref().and_then(|(word, place)| {
            let declared = self.language.triggers.iter().copied().find(|declared| declared.name == word);
            if declared.is_none() {
                let known = self.language.triggers.iter().map(|declared| declared.name);
                let message = format!("unknown trigger type {}", quoted(word));
                self.notes.error_near(place, Code::UnknownType, message, word, known);
            }
            declared
        });
        let name = self.name_of(&mut fields, "name").filter(|(name, _)| !name.is_empty());
        let place = fields.place.clone();
        let parameters = fields.take(&["parameters", "option"], &mut self.notes);
        let parameters = match declared {
            Some(declared) => {
                let mut scope = Scope::literal();
                self.parameters(parameters, &fields.place, declared.parameters, &mut scope)
            }
            None => Map::new(),
        };
        self.text_of(&mut fields, &["label"]);
        self.name_of(&mut fields, "id");
        fields.take_extra();
        fields.take_ignored(IGNORED_KEYS, &mut self.notes);
        fields.take_ignored(&["description", "timeout", "maxRetries"], &mut self.notes);
        fields.refuse(REFUSED_KEYS, &mut self.notes);
        fields.finish(Code::UnknownKey, "key", &["type", "name", "label", "parameters"], &mut self.notes);
        let (kind, _) = kind?;
        let own_name = || (kind.rsplit('/').next().unwrap_or(&kind).to_owned(), place);
        let (name, place) = name.unwrap_or_else(own_name);
        Some((Trigger { kind, name, parameters }, place))
    }

    /// Free in shape: a list of `{name, …}` or an object by name. What it says is for those who start the workflow.
    fn inputs(&mut self, fields: &mut Fields<'_>) -> Value {
        let Some(field) = fields.take(&["inputs"], &mut self.notes) else { return Value::Null };
        match &field.node.tree {
            Tree::List(_) | Tree::Map(_) => field.node.to_json(),
            _ => {
                let message = format!("expected a list or an object, got {}", field.node.described());
                self.notes.error(&field.place, Code::WrongType, message);
                Value::Null
            }
        }
    }

    fn outputs(&mut self, fields: &mut Fields<'_>, scope: &mut Scope) -> Vec<Output> {
        let Some(field) = fields.take(&["outputs"], &mut self.notes) else { return Vec::new() };
        let Some(items) = self.list(&field, "a list of outputs") else { return Vec::new() };
        let mut outputs: Vec<Output> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", field.place.path);
            let Some(mut inner) = Fields::of(item, &path, "an output", &mut self.notes) else { continue };
            let name = inner.need(&["name"], &mut self.notes);
            let name = name.and_then(|field| self.word(&field).map(|word| (word, field.place)));
            let value = inner.take_with_null(&["value"], &mut self.notes);
            if value.is_none() {
                self.notes.error(&inner.place, Code::MissingKey, "expected the key \"value\"");
            }
            inner.take_ignored(&["label", "description", "type"], &mut self.notes);
            inner.take_extra();
            inner.finish(Code::UnknownKey, "key", &["name", "value"], &mut self.notes);
            let (Some((name, place)), Some(value)) = (name, value) else { continue };
            if is_reserved(&name) {
                self.notes.error(
                    &place,
                    Code::ReservedName,
                    format!("the name {} belongs to the runtime", quoted(&name)),
                );
            }
            if outputs.iter().any(|output| output.name == name) {
                self.notes.error(
                    &place,
                    Code::DuplicateName,
                    format!("the output {} stands there twice", quoted(&name)),
                );
            }
            self.free_text(value.node, &value.place, scope);
            outputs.push(Output { name, value: value.node.to_json() });
        }
        outputs
    }

    fn on_complete(&mut self, fields: &mut Fields<'_>) -> Option<WorkflowId> {
        let field = fields.take(&["on_complete", "on_complete_flow_id"], &mut self.notes)?;
        let word = self.word(&field).filter(|word| !is_absent(word))?;
        let mention = Mention { word: word.clone(), place: field.place };
        self.spans.workflows.push(mention.clone());
        self.spans.on_complete = Some(mention);
        Some(WorkflowId(word))
    }

    fn choice<T: Copy + Default>(&mut self, fields: &mut Fields<'_>, key: &str, choices: &[(&str, T)]) -> T {
        let Some(field) = fields.take(&[key], &mut self.notes) else { return T::default() };
        let word = if let Tree::Text(word) = &field.node.tree { word.as_str() } else { "" };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return *choice;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("expected one of {}, got {}", names.join(", "), field.node.described());
        self.notes.error_near(&field.place, Code::InvalidValue, message, word, names);
        T::default()
    }

    /// The configured limits, where the document does not lower them.
    fn limits(&mut self, fields: &mut Fields<'_>) -> Limits {
        let mut limits = self.language.limits.clone();
        let Some(field) = fields.take(&["limits"], &mut self.notes) else { return limits };
        let Some(mut inner) =
            Fields::of(field.node, &field.place.path, "an object of limits", &mut self.notes)
        else {
            return limits;
        };
        let table: [(&str, &mut u32); 6] = [
            ("iterations", &mut limits.iterations),
            ("execute_calls", &mut limits.execute_calls),
            ("on_complete_depth", &mut limits.on_complete_depth),
            ("stack_depth", &mut limits.stack_depth),
            ("steps", &mut limits.steps),
            ("subflow_depth", &mut limits.subflow_depth),
        ];
        let names = table.each_ref().map(|(name, _)| *name);
        for (name, limit) in table {
            let Some(field) = inner.take(&[name], &mut self.notes) else { continue };
            let given = match &field.node.tree {
                Tree::Number { value, .. } => value.as_u64().filter(|n| *n > 0),
                _ => None,
            };
            match given {
                None => {
                    let message =
                        format!("expected a whole number from 1 to {limit}, got {}", field.node.described());
                    self.notes.error(&field.place, Code::InvalidValue, message);
                }
                Some(given) if given > u64::from(*limit) => {
                    let message = format!(
                        "a document may only lower its limits: expected at most {limit}, got {given}"
                    );
                    self.notes.error(&field.place, Code::LimitRaised, message);
                }
                Some(given) => *limit = u32::try_from(given).unwrap_or(*limit),
            }
        }
        inner.finish(Code::UnknownKey, "limit", &names, &mut self.notes);
        limits
    }

    fn list<'n>(&mut self, field: &Field<'n>, expected: &str) -> Option<&'n [Node]> {
        match &field.node.tree {
            Tree::List(items) => Some(items),
            _ => {
                let message = format!("expected {expected}, got {}", field.node.described());
                self.notes.error(&field.place, Code::WrongType, message);
                None
            }
        }
    }
}

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`: it is a part of URLs and of file names.
fn is_workflow_id(word: &str) -> bool {
    let first_fits = word.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest_fits = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    first_fits && rest_fits && word.len() <= 64
}
