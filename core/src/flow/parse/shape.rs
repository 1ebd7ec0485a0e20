//! Values against their declared shapes.

use super::super::declare::{Parameter, Shape};
use super::super::diagnostic::{Code, Place};
use super::super::source::{Node, Tree, join, quoted};
use super::action::Lists;
use super::fields::Fields;
use super::{ActionPlace, Mention, Reader, is_absent, text};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What an action's values bring to light besides themselves.
pub(super) struct Scope {
    /// The action's place in canonical words.
    seat: String,
    /// Whether `${secret.…}` may stand here.
    pub secrets: bool,
    /// Nothing is substituted here: what would be is an error.
    literal: bool,
    pub targets: Vec<Mention>,
    pub variables: Vec<Mention>,
    pub parameter_places: BTreeMap<String, Place>,
    pub lists: Lists,
    pub list_places: BTreeMap<String, Vec<ActionPlace>>,
}

impl Scope {
    /// Of values that are read before anything runs.
    pub fn literal() -> Scope {
        Scope { literal: true, ..Scope::new("") }
    }

    pub fn new(seat: &str) -> Scope {
        Scope {
            seat: seat.to_owned(),
            secrets: false,
            literal: false,
            targets: Vec::new(),
            variables: Vec::new(),
            parameter_places: BTreeMap::new(),
            lists: BTreeMap::new(),
            list_places: BTreeMap::new(),
        }
    }
}

impl Reader<'_> {
    /// An object's values by their canonical names. `at` is its own canonical place inside the parameters.
    pub(super) fn object(
        &mut self,
        mut fields: Fields<'_>,
        declared: &'static [Parameter],
        at: &str,
        scope: &mut Scope,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        for parameter in declared {
            let words: Vec<&str> =
                std::iter::once(parameter.name).chain(parameter.aliases.iter().copied()).collect();
            let takes_null = matches!(parameter.shape, Shape::Any) && parameter.required;
            let field = match takes_null {
                true => fields.take_with_null(&words, &mut self.notes),
                false => fields.take(&words, &mut self.notes),
            };
            let field = field.filter(|field| !stands_for_nothing(&parameter.shape, field.node));
            let Some(field) = field else {
                if parameter.required {
                    let message = format!("expected the parameter {:?}", parameter.name);
                    self.notes.error(&fields.place, Code::MissingKey, message);
                }
                continue;
            };
            if at.is_empty() {
                scope.parameter_places.insert(parameter.name.to_owned(), field.place.clone());
            }
            if matches!(parameter.shape, Shape::Ignored) {
                if field.node.is_empty() {
                    continue;
                }
                let place = Place::new(field.place.path, field.key_at);
                let message = format!("the parameter {:?} has no effect here", parameter.name);
                self.notes.warning(&place, Code::IgnoredKey, message);
                continue;
            }
            let inside = join(at, parameter.name);
            if let Some(value) = self.value(&parameter.shape, field.node, &field.place, &inside, scope) {
                values.insert(parameter.name.to_owned(), value);
            }
        }
        let known: Vec<&str> =
            declared.iter().flat_map(|p| std::iter::once(&p.name).chain(p.aliases)).copied().collect();
        fields.finish(Code::UnknownParameter, "parameter", &known, &mut self.notes);
        values
    }

    /// None when it does not fit (and was reported), or when it went elsewhere (nested actions).
    fn value(
        &mut self,
        shape: &'static Shape,
        node: &Node,
        place: &Place,
        at: &str,
        scope: &mut Scope,
    ) -> Option<Value> {
        if let (Shape::Expression, Tree::Text(text)) = (shape, &node.tree) {
            let text = if text.starts_with('=') { text.clone() } else { format!("={text}") };
            self.substituted(&text, place, scope)?;
            return Some(Value::String(text));
        }
        if let Tree::Text(text) = &node.tree
            && self.substituted(text, place, scope)?
            && !matches!(shape, Shape::Actions)
        {
            return Some(Value::String(text.clone()));
        }
        match shape {
            Shape::Text => self.text(node, place).map(Value::from),
            Shape::Flag => match node.tree {
                Tree::Flag(flag) => Some(Value::Bool(flag)),
                _ => self.misfit(place, node, "true or false"),
            },
            Shape::Integer { min, max } => self.integer(node, place, *min, *max),
            Shape::Number { min, max } => match &node.tree {
                Tree::Number { value, .. } if value.as_f64().is_some_and(|n| (*min..=*max).contains(&n)) => {
                    Some(Value::Number(value.clone()))
                }
                _ => self.misfit(place, node, &Shape::number_words(*min, *max)),
            },
            Shape::Millis { min, max } => self.millis(node, place, *min, *max).map(Value::from),
            Shape::Seconds { min, max } => self.seconds(node, place, *min, *max).map(Value::from),
            Shape::OneOf(words) => self.one_of(node, place, words),
            Shape::ListOf(inner) => {
                let Tree::List(items) = &node.tree else {
                    return self.misfit(place, node, "a list");
                };
                let mut values = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let place = Place::new(format!("{}[{index}]", place.path), item.at);
                    values.extend(self.value(inner, item, &place, &format!("{at}[{index}]"), scope));
                }
                Some(Value::Array(values))
            }
            Shape::MapOf(inner) => {
                let Tree::Map(entries) = &node.tree else {
                    return self.misfit(place, node, "an object");
                };
                let mut values = Map::new();
                for entry in entries.iter().filter(|entry| !stands_for_nothing(inner, &entry.value)) {
                    // A duplicate, reported as such.
                    if values.contains_key(&entry.key) {
                        continue;
                    }
                    let place = Place::new(join(&place.path, &entry.key), entry.value.at);
                    if let Some(value) = self.value(inner, &entry.value, &place, &join(at, &entry.key), scope)
                    {
                        values.insert(entry.key.clone(), value);
                    }
                }
                Some(Value::Object(values))
            }
            Shape::Object(parameters) => {
                let fields = Fields::of(node, &place.path, "an object", &mut self.notes)?;
                Some(Value::Object(self.object(fields, parameters, at, scope)))
            }
            Shape::Target => {
                let word = self.text(node, place)?.to_owned();
                scope.targets.push(Mention { word: word.clone(), place: place.clone() });
                Some(Value::String(word))
            }
            Shape::Workflow => {
                let word = self.text(node, place)?.to_owned();
                self.spans.workflows.push(Mention { word: word.clone(), place: place.clone() });
                Some(Value::String(word))
            }
            Shape::Actions => self.nested(node, place, at, scope),
            Shape::ActionsOrWorkflow => match &node.tree {
                Tree::Text(word) => {
                    let mention = Mention { word: word.clone(), place: place.clone() };
                    self.spans.wait_flows.push(mention.clone());
                    self.spans.workflows.push(mention);
                    Some(Value::String(word.clone()))
                }
                Tree::List(_) => self.nested(node, place, at, scope),
                _ => self.misfit(place, node, "a list of actions or the id of a workflow"),
            },
            Shape::Keys { alphabet, max } => self.keys(node, place, alphabet, *max),
            Shape::Any => {
                self.inner_texts(node, place, scope);
                Some(node.to_json())
            }
            Shape::Expression => match node.tree {
                Tree::Flag(flag) => Some(Value::Bool(flag)),
                _ => self.misfit(place, node, "an expression"),
            },
            Shape::Ignored => None,
        }
    }

    /// Looks into a text that is substituted when it runs; true when it holds something to substitute, None when that
    /// is broken (and was reported).
    pub(super) fn substituted(&mut self, text: &str, place: &Place, scope: &mut Scope) -> Option<bool> {
        let scan = text::scan(text);
        let mut is_sound = !scan.unclosed;
        if scan.unclosed {
            let message = "expected a \"}\" after \"${\" (a literal \"${\" is written \"$${\")";
            self.notes.error(place, Code::UnclosedVariable, message);
        }
        if scan.names.contains(&"") {
            is_sound = false;
            self.notes.error(place, Code::InvalidValue, "expected a name inside \"${}\"");
        }
        let expression = text::expression(text);
        let has_secret = scan.names.iter().any(|name| text::is_secret(name))
            || expression.is_some_and(text::expression_has_secret);
        if has_secret && !scope.secrets {
            let message = "secrets may stand only in parameters of actions that talk to other systems";
            self.notes.error(place, Code::SecretNotAllowed, message);
        }
        match expression.filter(|_| !has_secret || scope.secrets).map(self.language.expression) {
            Some(Ok(names)) => {
                let mention = |word| Mention { word, place: place.clone() };
                scope.variables.extend(names.into_iter().map(mention));
            }
            Some(Err(wrong)) => {
                is_sound = false;
                self.notes.error(place, Code::InvalidExpression, wrong);
            }
            None => {}
        }
        if scope.literal && (expression.is_some() || !scan.names.is_empty()) {
            is_sound = false;
            self.notes.error(
                place,
                Code::InvalidValue,
                "expected a literal value: there are no variables yet",
            );
        }
        scope.variables.extend(
            scan.names
                .iter()
                .filter(|name| !name.is_empty())
                .map(|name| Mention { word: (*name).to_owned(), place: place.clone() }),
        );
        is_sound.then_some(expression.is_some() || !scan.names.is_empty())
    }

    /// Every text inside a free value is substituted too.
    pub(super) fn inner_texts(&mut self, node: &Node, place: &Place, scope: &mut Scope) {
        match &node.tree {
            Tree::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.free_text(item, &Place::new(format!("{}[{index}]", place.path), item.at), scope);
                }
            }
            Tree::Map(entries) => {
                for entry in entries {
                    self.free_text(
                        &entry.value,
                        &Place::new(join(&place.path, &entry.key), entry.value.at),
                        scope,
                    );
                }
            }
            _ => {}
        }
    }

    pub(super) fn free_text(&mut self, node: &Node, place: &Place, scope: &mut Scope) {
        match &node.tree {
            Tree::Text(text) => {
                self.substituted(text, place, scope);
            }
            _ => self.inner_texts(node, place, scope),
        }
    }

    fn nested(&mut self, node: &Node, place: &Place, at: &str, scope: &mut Scope) -> Option<Value> {
        let seat = format!("{}.{at}", scope.seat);
        let (nodes, places) = self.actions(node, &place.path, &seat);
        scope.lists.insert(at.to_owned(), nodes);
        scope.list_places.insert(at.to_owned(), places);
        None
    }

    fn integer(&mut self, node: &Node, place: &Place, min: i64, max: i64) -> Option<Value> {
        // 2^53: every whole number up to here has a double of its own, so `5.0` is 5.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let whole = match &node.tree {
            Tree::Number { value, .. } => value.as_i64().or_else(|| {
                value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT_MAX).map(|n| n as i64)
            }),
            _ => None,
        };
        match whole.filter(|n| (min..=max).contains(n)) {
            Some(n) => Some(Value::from(n)),
            None if max == i64::MAX => self.misfit(place, node, &format!("a whole number of at least {min}")),
            None => self.misfit(place, node, &format!("a whole number from {min} to {max}")),
        }
    }

    fn one_of(&mut self, node: &Node, place: &Place, words: &'static [&'static str]) -> Option<Value> {
        if let Tree::Text(text) = &node.tree
            && words.contains(&text.as_str())
        {
            return Some(Value::String(text.clone()));
        }
        let shown: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        let message = format!("expected one of {}, got {}", shown.join(", "), node.described());
        let (code, word) = match &node.tree {
            Tree::Text(text) => (Code::InvalidValue, text.as_str()),
            _ => (Code::WrongType, ""),
        };
        self.notes.error_near(place, code, message, word, words.iter().copied());
        None
    }

    fn keys(&mut self, node: &Node, place: &Place, alphabet: &str, max: usize) -> Option<Value> {
        let keys = self.text(node, place)?;
        if let Some(wrong) = keys.chars().find(|key| !alphabet.contains(*key)) {
            let message = format!("expected keys of {alphabet:?}, got {wrong:?}");
            self.notes.error(place, Code::InvalidValue, message);
            return None;
        }
        let count = keys.chars().count();
        if count > max {
            self.notes.error(place, Code::InvalidValue, format!("expected at most {max} keys, got {count}"));
            return None;
        }
        Some(Value::String(keys.to_owned()))
    }

    fn misfit(&mut self, place: &Place, node: &Node, expected: &str) -> Option<Value> {
        let is_number = matches!(node.tree, Tree::Number { .. }) && expected.contains("number");
        let code = if is_number { Code::InvalidValue } else { Code::WrongType };
        let message = match &node.tree {
            Tree::Text(text) => format!("expected {expected}, got the text {}", quoted(text)),
            _ => format!("expected {expected}, got {}", node.described()),
        };
        self.notes.error(place, code, message);
        None
    }
}

/// A reference to nothing: the nil UUID or empty text, as exporters write it.
fn stands_for_nothing(shape: &Shape, node: &Node) -> bool {
    match (shape, &node.tree) {
        (Shape::Target | Shape::Workflow | Shape::ActionsOrWorkflow, Tree::Text(text)) => is_absent(text),
        (Shape::Target | Shape::Workflow | Shape::ActionsOrWorkflow, Tree::Null) => true,
        _ => false,
    }
}
