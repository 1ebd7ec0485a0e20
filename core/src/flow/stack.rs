//! Lists of actions, and the stacks that run them.

use super::script::ActionNode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A list of actions whose members can be found by id or name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<ActionNode>", into = "Vec<ActionNode>")]
pub struct List {
    nodes: Vec<Arc<ActionNode>>,
    places: BTreeMap<String, usize>,
    /// Nested lists by the action's place and their own name: built once, pushed often.
    nested: BTreeMap<usize, BTreeMap<String, Arc<List>>>,
}

impl List {
    pub fn new<'n>(actions: impl IntoIterator<Item = &'n ActionNode>) -> List {
        let nodes: Vec<Arc<ActionNode>> = actions.into_iter().map(|node| Arc::new(node.clone())).collect();
        let mut places = BTreeMap::new();
        // Names first, so that an id wins where both are the same word.
        for (index, node) in nodes.iter().enumerate() {
            if let Some(name) = &node.name {
                places.entry(name.clone()).or_insert(index);
            }
        }
        for (index, node) in nodes.iter().enumerate().rev() {
            places.insert(node.id.clone(), index);
        }
        let nested = nodes.iter().enumerate().filter(|(_, node)| !node.lists.is_empty());
        let nested = nested
            .map(|(index, node)| {
                let lists =
                    node.lists.iter().map(|(name, actions)| (name.clone(), Arc::new(List::new(actions))));
                (index, lists.collect())
            })
            .collect();
        List { nodes, places, nested }
    }

    /// A nested list of one of its actions.
    pub fn nested(&self, index: usize, name: &str) -> Option<&Arc<List>> {
        self.nested.get(&index)?.get(name)
    }

    pub fn node(&self, index: usize) -> Option<&Arc<ActionNode>> {
        self.nodes.get(index)
    }

    pub fn nodes(&self) -> &[Arc<ActionNode>] {
        &self.nodes
    }

    pub fn find(&self, target: &str) -> Option<usize> {
        self.places.get(target).copied()
    }
}

impl From<Vec<ActionNode>> for List {
    fn from(actions: Vec<ActionNode>) -> List {
        List::new(&actions)
    }
}

impl From<List> for Vec<ActionNode> {
    fn from(list: List) -> Vec<ActionNode> {
        list.nodes.iter().map(|node| (**node).clone()).collect()
    }
}

/// A document's own list of actions: made when it is first wanted, shared by all of its runs.
#[derive(Debug, Default)]
pub struct Laid(OnceLock<Arc<List>>);

impl Laid {
    pub fn list(&self, actions: &[ActionNode]) -> Arc<List> {
        self.0.get_or_init(|| Arc::new(List::new(actions))).clone()
    }
}

/// Whoever copies a document may change its actions.
impl Clone for Laid {
    fn clone(&self) -> Laid {
        Laid::default()
    }
}

/// It says nothing that the actions don't.
impl PartialEq for Laid {
    fn eq(&self, _: &Laid) -> bool {
        true
    }
}

/// One activation of a list: its own cursor and its own counts of jumps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    pub id: String,
    pub list: Arc<List>,
    /// The next action to begin, or the one under way.
    pub index: usize,
    /// Jumps made so far, by the index of the `goto` that counts them.
    pub jumps: BTreeMap<usize, u64>,
    /// The action that pushed it, as the API shows it.
    pub return_action: Option<String>,
    pub work: Work,
}

/// What a stack is for, as it stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Work {
    #[default]
    Once,
    Turns(Turns),
    /// The list that catches its errors.
    Guarded {
        second: Option<Arc<List>>,
    },
}

/// A loop under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// The step that began it.
    pub step: u64,
    pub node: Arc<ActionNode>,
    pub items: Option<Arc<Vec<Value>>>,
    /// The turn under way, from 0.
    pub turn: u64,
}

impl Turns {
    /// The name of its variables.
    pub fn name(&self) -> &str {
        self.node.name.as_deref().unwrap_or(&self.node.id)
    }

    /// The variables of a turn; none when there is no such turn.
    pub fn variables(&self, turn: u64) -> Option<Vec<(String, Value)>> {
        let mut variables = vec![(format!("{}.index", self.name()), Value::from(turn))];
        if let Some(items) = &self.items {
            let item = items.get(usize::try_from(turn).ok()?)?;
            variables.push((format!("{}.item", self.name()), item.clone()));
        }
        Some(variables)
    }
}

impl Frame {
    pub fn new(id: String, list: Arc<List>, return_action: Option<String>) -> Frame {
        Frame { id, list, index: 0, jumps: BTreeMap::new(), return_action, work: Work::Once }
    }

    pub fn node(&self) -> Option<&Arc<ActionNode>> {
        self.list.node(self.index)
    }
}
