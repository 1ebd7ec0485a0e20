//! Lists of actions, and the stacks that run them.

use super::script::ActionNode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list of actions whose members can be found by id or name.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    nodes: Vec<Arc<ActionNode>>,
    places: BTreeMap<String, usize>,
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
        List { nodes, places }
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

/// One activation of a list: its own cursor and its own counts of jumps.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub id: String,
    pub list: Arc<List>,
    /// The next action to begin, or the one under way.
    pub index: usize,
    /// Jumps made so far, by the index of the `goto` that counts them.
    pub jumps: BTreeMap<usize, u64>,
    /// The action that pushed it, as the API shows it.
    pub return_action: Option<String>,
}

impl Frame {
    pub fn new(id: String, list: Arc<List>, return_action: Option<String>) -> Frame {
        Frame { id, list, index: 0, jumps: BTreeMap::new(), return_action }
    }

    pub fn node(&self) -> Option<&Arc<ActionNode>> {
        self.list.node(self.index)
    }
}
