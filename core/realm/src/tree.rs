//! A tree of topic levels in one vector: what subscriptions and retained messages are both kept in.
//!
//! No function recurses, so the depth of a topic costs no stack; dropping it is flat too.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A place in the tree; valid until it is pruned.
pub(crate) type NodeId = usize;

/// The place above all first levels.
pub(crate) const ROOT: NodeId = 0;

#[derive(Debug)]
struct Node<V> {
    parent: NodeId,
    level: Arc<str>,
    children: BTreeMap<Arc<str>, NodeId>,
    value: V,
}

/// A value at each path of levels; wildcards are levels like any other here.
#[derive(Debug)]
pub(crate) struct Tree<V> {
    nodes: Vec<Node<V>>,
    free: Vec<NodeId>,
}

impl<V: Default> Default for Tree<V> {
    fn default() -> Self {
        Self { nodes: vec![Node::new(ROOT, "".into())], free: Vec::new() }
    }
}

impl<V: Default> Node<V> {
    fn new(parent: NodeId, level: Arc<str>) -> Self {
        Self { parent, level, children: BTreeMap::new(), value: V::default() }
    }
}

impl<V: Default> Tree<V> {
    pub(crate) fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        self.nodes[node].children.get(level).copied()
    }

    /// The children by their levels.
    pub(crate) fn children(&self, node: NodeId) -> &BTreeMap<Arc<str>, NodeId> {
        &self.nodes[node].children
    }

    pub(crate) fn find<'a>(&self, mut levels: impl Iterator<Item = &'a str>) -> Option<NodeId> {
        levels.try_fold(ROOT, |node, level| self.child(node, level))
    }

    /// As [`Tree::find`], making what is missing.
    pub(crate) fn grow<'a>(&mut self, levels: impl Iterator<Item = &'a str>) -> NodeId {
        levels.fold(ROOT, |node, level| match self.child(node, level) {
            Some(child) => child,
            None => self.add(node, level.into()),
        })
    }

    fn add(&mut self, parent: NodeId, level: Arc<str>) -> NodeId {
        let node = Node::new(parent, Arc::clone(&level));
        let id = if let Some(id) = self.free.pop() {
            self.nodes[id] = node;
            id
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.nodes[parent].children.insert(level, id);
        id
    }

    pub(crate) fn value(&self, node: NodeId) -> &V {
        &self.nodes[node].value
    }

    pub(crate) fn value_mut(&mut self, node: NodeId) -> &mut V {
        &mut self.nodes[node].value
    }

    /// Takes away `node` and all above it that hold nothing and lead nowhere.
    pub(crate) fn prune(&mut self, mut node: NodeId, is_empty: impl Fn(&V) -> bool) {
        while node != ROOT && self.nodes[node].children.is_empty() && is_empty(&self.nodes[node].value) {
            let parent = self.nodes[node].parent;
            let level = std::mem::take(&mut self.nodes[node].level);
            self.nodes[parent].children.remove(&level);
            self.free.push(node);
            node = parent;
        }
        if self.free.len() + 1 == self.nodes.len() && is_empty(&self.nodes[ROOT].value) {
            // Nothing is left: give the memory back.
            *self = Self::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_leaves_no_node_without_a_value_below_it() {
        let mut tree = Tree::<Option<u8>>::default();
        let deep = tree.grow("a/b/c".split('/'));
        *tree.value_mut(deep) = Some(1);
        let side = tree.grow("a/x".split('/'));
        *tree.value_mut(side) = Some(2);
        assert_eq!(tree.node_count(), 5);
        *tree.value_mut(deep) = None;
        tree.prune(deep, Option::is_none);
        assert_eq!(tree.node_count(), 3);
        assert_eq!(tree.find("a/b".split('/')), None);
        assert_eq!(tree.find("a/x".split('/')), Some(side));
        let again = tree.grow("a/y".split('/'));
        assert_eq!(tree.nodes.len(), 5, "freed places are used again");
        *tree.value_mut(side) = None;
        tree.prune(side, Option::is_none);
        tree.prune(again, Option::is_none);
        assert_eq!(tree.nodes.len(), 1);
    }
}
