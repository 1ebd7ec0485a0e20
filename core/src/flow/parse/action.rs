//! Actions: their own keys here, their parameters by their declarations.

use super::super::declare::{Declared, Parameter};
use super::super::diagnostic::{Code, Place};
use super::super::script::ActionNode;
use super::super::source::{Node, Tree, quoted};
use super::fields::{Field, Fields};
use super::shape::Scope;
use super::{ActionPlace, Mention, Reader, is_absent, is_reserved};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub(crate) const KEYS: &[&str] = &[
    "type",
    "id",
    "name",
    "label",
    "parameters",
    "option",
    "next",
    "next_id",
    "when",
    "retry",
    "maxRetries",
    "timeout",
    "on_error",
];

/// Of exported actions and documents, in both dialects.
pub(crate) const IGNORED_KEYS: &[&str] = &[
    "customer_id",
    "persist",
    "tm_create",
    "tm_update",
    "tm_delete",
    "tm_execute",
    "direct_id",
    "direct_hash",
    "metadata",
    "node",
    "taskNumber",
];

pub(crate) const REFUSED_KEYS: &[&str] = &["pre", "post", "finalize"];

/// UUIDs have 36; names are typed by people.
const WORD_CHARS_MAX: usize = 128;

impl Reader<'_> {
    /// A list of actions. `seat` is its place in canonical words: what made-up ids are made of.
    pub(super) fn actions(
        &mut self,
        node: &Node,
        path: &str,
        seat: &str,
    ) -> (Vec<ActionNode>, Vec<ActionPlace>) {
        let Tree::List(items) = &node.tree else {
            let message = format!("expected a list of actions, got {}", node.described());
            self.notes.error(&Place::new(path, node.at), Code::WrongType, message);
            return (Vec::new(), Vec::new());
        };
        let read = |(index, item): (usize, &Node)| {
            self.action(item, &format!("{path}[{index}]"), &format!("{seat}[{index}]"))
        };
        items.iter().enumerate().filter_map(read).unzip()
    }

    /// None only for what is no object. Whatever else is wrong, the action stays in its list, so that those who jump to
    /// it are not told that it does not exist.
    fn action(&mut self, node: &Node, path: &str, seat: &str) -> Option<(ActionNode, ActionPlace)> {
        let mut fields = Fields::of(node, path, "an action", &mut self.notes)?;
        let mut scope = Scope::new(seat);

        let kind = fields.need(&["type"], &mut self.notes);
        let kind = kind.and_then(|field| self.word(&field).map(|word| (word, field.place)));
        let declared = kind.as_ref().and_then(|(word, place)| self.declared(word, place));
        let written = kind.map(|(word, _)| without_version(&word)).unwrap_or_default();
        let kind = declared.map_or(written, |declared| declared.name.to_owned());
        scope.secrets = declared.is_some_and(|declared| declared.secrets);

        let id = self.name_of(&mut fields, "id").filter(|(id, _)| !is_absent(id)).unzip();
        let (id, id_place) = (id.0.unwrap_or_else(|| made_up_id(&self.seed, seat)), id.1);
        let (name, name_place) =
            self.name_of(&mut fields, "name").filter(|(name, _)| !name.is_empty()).unzip();
        let label = self.text_of(&mut fields, &["label"]);

        let parameters = fields.take(&["parameters", "option"], &mut self.notes);
        let parameters = declared
            .map(|declared| self.parameters(parameters, &fields.place, declared.parameters, &mut scope))
            .unwrap_or_default();

        // Policy and jumps are the machine's own: nothing in them is substituted, and no secret belongs there.
        scope.secrets = false;
        let next = fields.take(&["next", "next_id"], &mut self.notes);
        let next = next.and_then(|field| {
            let word = self.word(&field).filter(|word| !is_absent(word))?;
            scope.targets.push(Mention { word: word.clone(), place: field.place });
            Some(word)
        });
        let when = fields.take(&["when"], &mut self.notes);
        let when = when.and_then(|field| self.when(&field, &mut scope));
        let retry = self.retry(&mut fields);
        let timeout_ms = self.timeout(&mut fields);
        let on_error = self.on_error(&mut fields, &mut scope.targets);

        let extra = fields.take_extra();
        fields.take_ignored(IGNORED_KEYS, &mut self.notes);
        fields.take_ignored(&["description"], &mut self.notes);
        fields.refuse(REFUSED_KEYS, &mut self.notes);
        let place = fields.place.clone();
        fields.finish(Code::UnknownKey, "key", KEYS, &mut self.notes);

        let Scope { targets, variables, parameter_places, lists, list_places, .. } = scope;
        let node = ActionNode {
            id,
            kind,
            name,
            label,
            parameters,
            lists,
            next,
            when,
            retry,
            timeout_ms,
            on_error,
            extra,
        };
        let place = ActionPlace {
            place,
            id: id_place,
            name: name_place,
            targets,
            variables,
            parameters: parameter_places,
            lists: list_places,
        };
        Some((node, place))
    }

    fn declared(&mut self, written: &str, place: &Place) -> Option<&'static Declared> {
        let word = without_version(written);
        if let Some(declared) = self.language.action(&word) {
            return Some(declared);
        }
        if self.language.later.contains(&word.as_str()) {
            let message = format!("the action type {} is not available yet", quoted(&word));
            self.notes.error(place, Code::NotAvailableYet, message);
            return None;
        }
        let names = self.language.actions.iter().flat_map(|d| std::iter::once(&d.name).chain(d.aliases));
        let known: Vec<&str> = names.chain(self.language.later).copied().collect();
        let message = format!("unknown action type {}", quoted(&word));
        self.notes.error_near(place, Code::UnknownType, message, &word, known);
        None
    }

    /// Parameters of an action or a trigger; none at all is an empty object.
    pub(super) fn parameters(
        &mut self,
        given: Option<Field<'_>>,
        owner: &Place,
        declared: &'static [Parameter],
        scope: &mut Scope,
    ) -> Map<String, Value> {
        let empty = Node { at: owner.at, tree: Tree::Map(Vec::new()) };
        // What a missing object lacks, its owner lacks.
        let (node, path) = match &given {
            Some(field) => (field.node, field.place.path.as_str()),
            None => (&empty, owner.path.as_str()),
        };
        let Some(fields) = Fields::of(node, path, "an object of parameters", &mut self.notes) else {
            return Map::new();
        };
        self.object(fields, declared, "", scope)
    }

    /// An id or a name: text that `${…}` and people can take.
    pub(super) fn name_of(&mut self, fields: &mut Fields<'_>, key: &str) -> Option<(String, Place)> {
        let field = fields.take(&[key], &mut self.notes)?;
        let word = self.word(&field)?;
        if word.chars().count() > WORD_CHARS_MAX || word.chars().any(char::is_control) {
            let message = format!("expected at most {WORD_CHARS_MAX} printable characters");
            self.notes.error(&field.place, Code::InvalidValue, message);
            return None;
        }
        if key == "name" {
            if is_reserved(&word) {
                let message = format!("the name {} belongs to the runtime", quoted(&word));
                self.notes.error(&field.place, Code::ReservedName, message);
            } else if word.contains(['$', '{', '}', '[', ']', '"']) || word.contains(":-") {
                let message = format!("expected a name that can stand inside ${{…}}, got {}", quoted(&word));
                self.notes.error(&field.place, Code::InvalidValue, message);
            }
        }
        Some((word, field.place))
    }

    pub(super) fn text_of(&mut self, fields: &mut Fields<'_>, words: &[&str]) -> Option<String> {
        let field = fields.take(words, &mut self.notes)?;
        self.word(&field)
    }

    /// Text, and nothing that merely looks like it: `id: 1` would lose its zeros, `target: +1415…` its plus sign.
    pub(super) fn word(&mut self, field: &Field<'_>) -> Option<String> {
        self.text(field.node, &field.place).map(str::to_owned)
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, place: &Place) -> Option<&'n str> {
        match &node.tree {
            Tree::Text(text) => Some(text),
            tree => {
                let message = format!("expected text, got {}", node.described());
                let quoted = match tree {
                    Tree::Number { written, .. } => format!("{message}; put it in quotes: \"{written}\""),
                    Tree::Flag(flag) => format!("{message}; put it in quotes: \"{flag}\""),
                    _ => message,
                };
                self.notes.error(place, Code::WrongType, quoted);
                None
            }
        }
    }

    /// `true`, `false`, or text that becomes one of them.
    fn when(&mut self, field: &Field<'_>, scope: &mut Scope) -> Option<Value> {
        match &field.node.tree {
            Tree::Flag(flag) => Some(Value::Bool(*flag)),
            Tree::Text(text) => {
                let is_dynamic = self.substituted(text, &field.place, scope)?;
                if !is_dynamic && !matches!(text.as_str(), "true" | "false") {
                    let message =
                        format!("expected true, false or a variable, got {}", field.node.described());
                    self.notes.error(&field.place, Code::InvalidValue, message);
                }
                Some(Value::String(text.clone()))
            }
            _ => {
                let message = format!("expected true, false or text, got {}", field.node.described());
                self.notes.error(&field.place, Code::WrongType, message);
                None
            }
        }
    }
}

/// `salesforce/v1/createRecord` is `salesforce/createRecord`: versions belong to the systems that export them.
pub(super) fn without_version(kind: &str) -> String {
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut parts = kind.split('/');
    let mut kept: Vec<&str> = parts.next().into_iter().collect();
    kept.extend(parts.filter(|part| !is_version(part)));
    kept.join("/")
}

/// From the place alone: the same file gives the same ids. In the layout of a UUID of version 8, which is "as you like".
fn made_up_id(seed: &str, seat: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(seed.as_bytes());
    digest.update([0]);
    digest.update(seat.as_bytes());
    let hash = digest.finalize();
    let mut bytes = [0u8; 16];
    for (byte, from) in bytes.iter_mut().zip(hash.iter()) {
        *byte = *from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Lists of a nested shape and their places, by path.
pub(super) type Lists = BTreeMap<String, Vec<ActionNode>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dropped_wherever_they_stand() {
        assert_eq!(without_version("salesforce/v1/createRecord"), "salesforce/createRecord");
        assert_eq!(without_version("condition/v1"), "condition");
        assert_eq!(without_version("v1"), "v1");
        assert_eq!(without_version("a/verb"), "a/verb");
    }

    #[test]
    fn made_up_ids_depend_on_the_place_and_the_seed_alone() {
        assert_eq!(made_up_id("a", "actions[0]"), made_up_id("a", "actions[0]"));
        assert_ne!(made_up_id("a", "actions[0]"), made_up_id("a", "actions[1]"));
        assert_ne!(made_up_id("a", "actions[0]"), made_up_id("b", "actions[0]"));
        assert_eq!(uuid::Uuid::parse_str(&made_up_id("", "")).unwrap().get_version_num(), 8);
    }
}
