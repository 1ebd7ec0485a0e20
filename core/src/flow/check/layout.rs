//! The tree of actions laid out flat: lists, what each one can see, what follows what.

use super::super::parse::ActionPlace;
use super::super::script::ActionNode;
use std::collections::BTreeMap;

pub(super) struct Layout<'s> {
    pub actions: Vec<Flat<'s>>,
    pub lists: Vec<List<'s>>,
}

/// One action, by its number in [`Layout::actions`], in the document's order.
pub(super) struct Flat<'s> {
    pub node: &'s ActionNode,
    pub place: &'s ActionPlace,
    /// The list that it stands in.
    pub list: usize,
    /// The action after it in its list.
    pub after: Option<usize>,
    /// Its own nested lists.
    pub lists: Vec<usize>,
}

/// A list of actions becomes a stack when it runs.
pub(super) struct List<'s> {
    /// `wait_flow`, `cases[0].tasks`; empty for the document's own.
    pub name: &'s str,
    /// Ids and names; of duplicates the first.
    pub words: BTreeMap<&'s str, usize>,
    /// The list of the action that pushes it.
    pub parent: Option<usize>,
    /// The action that pushes it.
    pub owner: Option<usize>,
    pub first: Option<usize>,
}

impl<'s> Layout<'s> {
    pub fn new(nodes: &'s [ActionNode], places: &'s [ActionPlace]) -> Layout<'s> {
        let mut layout = Layout { actions: Vec::new(), lists: Vec::new() };
        layout.add_list("", nodes, places, None, None);
        layout
    }

    /// An id or a name, seen from a list: its own actions, then its ancestors'.
    pub fn resolve(&self, list: usize, word: &str) -> Option<usize> {
        let mut next = Some(list);
        while let Some(list) = next.and_then(|list| self.lists.get(list)) {
            if let Some(found) = list.words.get(word) {
                return Some(*found);
            }
            next = list.parent;
        }
        None
    }

    /// Every id and name that can be seen from a list.
    pub fn visible(&self, list: usize) -> impl Iterator<Item = &'s str> {
        let around = |list: &&List<'s>| list.parent.and_then(|parent| self.lists.get(parent));
        std::iter::successors(self.lists.get(list), around).flat_map(|list| list.words.keys().copied())
    }

    /// Whether an action stands in a list of this name, however deep.
    pub fn is_within(&self, list: usize, name: &str) -> bool {
        let mut next = Some(list);
        while let Some(list) = next.and_then(|list| self.lists.get(list)) {
            if list.name == name {
                return true;
            }
            next = list.parent;
        }
        false
    }

    fn add_list(
        &mut self,
        name: &'s str,
        nodes: &'s [ActionNode],
        places: &'s [ActionPlace],
        parent: Option<usize>,
        owner: Option<usize>,
    ) -> usize {
        let list = self.lists.len();
        self.lists.push(List { name, words: BTreeMap::new(), parent, owner, first: None });
        let mut before: Option<usize> = None;
        for (node, place) in nodes.iter().zip(places) {
            let index = self.actions.len();
            self.actions.push(Flat { node, place, list, after: None, lists: Vec::new() });
            match before.and_then(|before| self.actions.get_mut(before)) {
                Some(before) => before.after = Some(index),
                None => self.lists[list].first = Some(index),
            }
            before = Some(index);
            let words = &mut self.lists[list].words;
            words.entry(&node.id).or_insert(index);
            if let Some(name) = &node.name {
                words.entry(name).or_insert(index);
            }
            let nested =
                node.lists.iter().filter_map(|(name, nodes)| Some((name, nodes, place.lists.get(name)?)));
            let lists = nested
                .map(|(name, nodes, places)| self.add_list(name, nodes, places, Some(list), Some(index)))
                .collect();
            self.actions[index].lists = lists;
        }
        list
    }
}
