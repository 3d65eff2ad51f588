//! The last retained message of each topic (section 3.3.1.3).

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use postern_mqtt::packet::{Message, QoS};
use postern_mqtt::{Filter, Topic};

use crate::limits::RealmLimits;
use crate::size::held_bytes;
use crate::tree::{NodeId, ROOT, Tree};

/// A message that waits for future subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) expires_ms: Option<u64>,
    /// Client id of the publisher, for No Local.
    pub(crate) publisher: Arc<str>,
    /// Rises with each message that is stored; [`Retained::put`] gives it.
    pub(crate) number: u64,
}

/// Where a walk goes on: the levels of the next place, or none at its beginning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor(Vec<Arc<str>>);

/// The children of one place that are left to visit.
type Children<'a> = btree_map::Range<'a, Arc<str>, NodeId>;

static NO_CHILDREN: BTreeMap<Arc<str>, NodeId> = BTreeMap::new();

/// A filter as a way down the tree.
struct Way<'f> {
    /// Without a `#` at the end.
    levels: Vec<&'f str>,
    /// It ends in `#`.
    is_open: bool,
}

enum Level<'f> {
    Any,
    Named(&'f str),
}

impl<'f> Way<'f> {
    fn new(filter: &'f Filter) -> Self {
        let mut levels: Vec<&str> = filter.levels().collect();
        let is_open = levels.last() == Some(&"#");
        if is_open {
            levels.pop();
        }
        Self { levels, is_open }
    }

    /// What the filter takes below a place at `depth`.
    fn level(&self, depth: usize) -> Option<Level<'f>> {
        match self.levels.get(depth) {
            Some(&"+") => Some(Level::Any),
            Some(name) => Some(Level::Named(name)),
            None => self.is_open.then_some(Level::Any),
        }
    }

    fn is_wild(&self, depth: usize) -> bool {
        matches!(self.level(depth), Some(Level::Any))
    }

    /// Whether it matches a place at `depth` that it led to; `#` stands for the parent level too.
    fn ends_at(&self, depth: usize) -> bool {
        depth == self.levels.len() || (self.is_open && depth > self.levels.len())
    }
}

/// All retained messages of a realm.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    tree: Tree<Option<Held>>,
    /// How many were ever stored.
    stored: u64,
    expiries: BTreeSet<(u64, Topic)>,
    count: usize,
    bytes: usize,
    /// Topics that changed since the last time somebody asked, with the message that each had then; only where somebody
    /// asks.
    changed: Option<BTreeMap<Topic, Option<Arc<Message>>>>,
}

/// The store is full, or the payload longer than it takes; what it had for the topic is still there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Retained {
    /// Holds a message in place of the topic's former one; one without payload only takes that away
    /// [MQTT-3.3.1-6], [MQTT-3.3.1-7].
    pub(crate) fn put(&mut self, held: Held, limits: &RealmLimits) -> Result<(), Full> {
        let topic = held.message.topic.clone();
        if held.message.payload.is_empty() {
            self.remove(&topic);
            return Ok(());
        }
        let former = self.get(&topic).map(|former| held_bytes(&former.message));
        let count = self.count + usize::from(former.is_none());
        let bytes = self.bytes - former.unwrap_or(0) + held_bytes(&held.message);
        let too_long = held.message.payload.len() > limits.retained_payload_bytes;
        if too_long || count > limits.retained_messages || bytes > limits.retained_bytes {
            return Err(Full);
        }
        self.remove(&topic);
        if let Some(at_ms) = held.expires_ms {
            self.expiries.insert((at_ms, topic.clone()));
        }
        self.note(&topic, None);
        self.stored += 1;
        let node = self.tree.grow(topic.levels());
        *self.tree.value_mut(node) = Some(Held { number: self.stored, ..held });
        self.count = count;
        self.bytes = bytes;
        Ok(())
    }

    /// From now on, [`Retained::take_changes`] has what changes.
    pub(crate) fn note_changes(&mut self) {
        self.changed = Some(BTreeMap::new());
    }

    /// The topics that changed, and the message that each had before.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<Topic, Option<Arc<Message>>> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Only the first of several changes knows what was before all of them.
    fn note(&mut self, topic: &Topic, former: Option<&Arc<Message>>) {
        if let Some(changed) = &mut self.changed
            && !changed.contains_key(topic)
        {
            changed.insert(topic.clone(), former.cloned());
        }
    }

    pub(crate) fn get(&self, topic: &Topic) -> Option<&Held> {
        self.tree.find(topic.levels()).and_then(|node| self.tree.value(node).as_ref())
    }

    fn remove(&mut self, topic: &Topic) {
        let Some(node) = self.tree.find(topic.levels()) else { return };
        if let Some(held) = self.tree.value_mut(node).take() {
            self.note(topic, Some(&held.message));
            self.count -= 1;
            self.bytes -= held_bytes(&held.message);
            if let Some(at_ms) = held.expires_ms {
                self.expiries.remove(&(at_ms, topic.clone()));
            }
        }
        self.tree.prune(node, Option::is_none);
    }

    /// Drops what has expired (MQTT-3.3.2-5).
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while self.expiries.first().is_some_and(|(at_ms, _)| *at_ms < now_ms) {
            if let Some((_, topic)) = self.expiries.pop_first() {
                self.remove(&topic);
            }
        }
    }

    /// When the next one is past its expiry.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.expiries.first().map(|(at_ms, _)| at_ms.saturating_add(1))
    }

    /// The number of the message that was stored last.
    pub(crate) fn last_number(&self) -> u64 {
        self.stored
    }

    /// Hands the messages whose topic `filter` matches to `take`, in the order of their levels, from the cursor on. Ends
    /// early, with the cursor at what comes next, when `take` refuses or no `visits` are left; whether it came to its end.
    pub(crate) fn walk(
        &self,
        filter: &Filter,
        cursor: &mut Cursor,
        visits: &mut usize,
        mut take: impl FnMut(&Held) -> bool,
    ) -> bool {
        let way = Way::new(filter);
        let mut path: Vec<Arc<str>> = Vec::new();
        // The children that are left to visit at each place on the path, and below it.
        let mut ahead = self.resume(&way, cursor, &mut path);
        while let Some(children) = ahead.last_mut() {
            let depth = path.len();
            let Some((level, &node)) = children.next() else {
                ahead.pop();
                path.pop();
                continue;
            };
            let left = visits.checked_sub(1);
            *visits = left.unwrap_or(0);
            // MQTT-4.7.2-1
            let hidden = depth == 0 && way.is_wild(0) && level.starts_with('$');
            let held = self.tree.value(node).as_ref().filter(|_| !hidden && way.ends_at(depth + 1));
            let goes_on = left.is_some() && held.is_none_or(&mut take);
            path.push(Arc::clone(level));
            if !goes_on {
                *cursor = Cursor(path);
                return false;
            }
            ahead.push(if hidden { NO_CHILDREN.range::<str, _>(..) } else { self.below(node, &way, depth + 1, None) });
        }
        true
    }

    /// What is left to visit from the cursor on; `path` becomes the way to the last of them.
    fn resume<'a>(&'a self, way: &Way<'_>, cursor: &Cursor, path: &mut Vec<Arc<str>>) -> Vec<Children<'a>> {
        let mut ahead = Vec::new();
        let mut node = ROOT;
        let Some((last, parents)) = cursor.0.split_last() else {
            return vec![self.below(node, way, 0, None)];
        };
        for level in parents {
            ahead.push(self.below(node, way, path.len(), Some(Bound::Excluded(level))));
            let Some(child) = self.tree.child(node, level) else { return ahead };
            path.push(Arc::clone(level));
            node = child;
        }
        ahead.push(self.below(node, way, path.len(), Some(Bound::Included(last))));
        ahead
    }

    /// The children of a place at `depth` that the filter leads to.
    fn below<'a>(&'a self, node: NodeId, way: &Way<'_>, depth: usize, from: Option<Bound<&str>>) -> Children<'a> {
        let children = self.tree.children(node);
        match way.level(depth) {
            None => NO_CHILDREN.range::<str, _>(..),
            Some(Level::Any) => children.range::<str, _>((from.unwrap_or(Bound::Unbounded), Bound::Unbounded)),
            Some(Level::Named(name)) => {
                children.range::<str, _>((from.unwrap_or(Bound::Included(name)), Bound::Included(name)))
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn held(topic: &str, payload: &'static str, expires_ms: Option<u64>) -> Held {
        let message = Message::new(Topic::new(topic).unwrap(), Bytes::from_static(payload.as_bytes()));
        Held { message: Arc::new(message), qos: QoS::AtMostOnce, expires_ms, publisher: "p".into(), number: 0 }
    }

    fn matching(retained: &Retained, filter: &str) -> Vec<String> {
        let mut topics = Vec::new();
        let complete = retained.walk(&Filter::new(filter).unwrap(), &mut Cursor::default(), &mut 1000, |held| {
            topics.push(held.message.topic.as_str().to_owned());
            true
        });
        assert!(complete);
        topics
    }

    /// Walks with so few visits and takes at once that it has to go on many times; `between` may change the store.
    fn piecemeal(
        retained: &mut Retained,
        filter: &str,
        visits: usize,
        mut between: impl FnMut(&mut Retained),
    ) -> Vec<String> {
        let (filter, mut cursor, mut topics) = (Filter::new(filter).unwrap(), Cursor::default(), Vec::new());
        loop {
            let mut refused = false;
            let complete = retained.walk(&filter, &mut cursor, &mut { visits }, |held| {
                refused = !refused;
                if refused {
                    topics.push(held.message.topic.as_str().to_owned());
                }
                refused
            });
            if complete {
                return topics;
            }
            between(retained);
        }
    }

    #[test]
    fn a_walk_goes_on_where_it_ended_although_the_place_is_gone() {
        let limits = RealmLimits::default();
        let mut retained = Retained::default();
        for topic in ["a", "a/b", "a/b/c", "b", "b/$x", "c/d"] {
            retained.put(held(topic, "1", None), &limits).unwrap();
        }
        assert_eq!(piecemeal(&mut retained, "#", 1, |_| {}), ["a", "a/b", "a/b/c", "b", "b/$x", "c/d"]);
        let mut gone = ["a/b", "a", "b", "b/$x"].into_iter();
        let topics = piecemeal(&mut retained, "#", 1, |retained| {
            if let Some(topic) = gone.next() {
                retained.put(held(topic, "", None), &limits).unwrap();
            }
        });
        assert_eq!(topics, ["a", "a/b/c", "c/d"], "what is gone before its turn does not come");
    }

    #[test]
    fn an_empty_payload_takes_the_message_and_its_place_away() {
        let limits = RealmLimits::default();
        let mut retained = Retained::default();
        retained.put(held("a/b", "1", Some(5)), &limits).unwrap();
        retained.put(held("a/b", "2", Some(9)), &limits).unwrap();
        assert_eq!((retained.count(), retained.next_ms()), (1, Some(10)));
        retained.put(held("a/b", "", None), &limits).unwrap();
        assert_eq!((retained.count(), retained.bytes(), retained.next_ms()), (0, 0, None));
        assert_eq!(retained.tree.node_count(), 1);
        retained.put(held("never/held", "", None), &limits).unwrap();
        assert_eq!(retained.tree.node_count(), 1);
    }

    #[test]
    fn a_full_store_keeps_what_it_has_and_takes_replacements() {
        let limits = RealmLimits { retained_messages: 1, ..RealmLimits::default() };
        let mut retained = Retained::default();
        retained.put(held("a", "1", None), &limits).unwrap();
        assert_eq!(retained.put(held("b", "1", None), &limits), Err(Full));
        retained.put(held("a", "2", None), &limits).unwrap();
        let bytes = RealmLimits { retained_bytes: retained.bytes(), ..RealmLimits::default() };
        assert_eq!(retained.put(held("a", "22", None), &bytes), Err(Full));
        assert_eq!(matching(&retained, "#"), ["a"]);
        assert_eq!(&retained.get(&Topic::new("a").unwrap()).unwrap().message.payload[..], b"2");
    }

    #[test]
    fn expired_messages_go() {
        let limits = RealmLimits::default();
        let mut retained = Retained::default();
        retained.put(held("a", "1", Some(1000)), &limits).unwrap();
        retained.put(held("b", "1", None), &limits).unwrap();
        retained.expire(1000);
        assert_eq!(matching(&retained, "#"), ["a", "b"]);
        retained.expire(1001);
        assert_eq!(matching(&retained, "#"), ["b"]);
    }

    proptest! {
        #[test]
        fn replay_finds_what_the_filter_matches(
            topics in prop::collection::btree_set("[ab$]?(/[ab$]?){0,3}", 0..20),
            filter in "([ab$]?|\\+)(/([ab$]?|\\+)){0,3}(/#)?",
        ) {
            let filter = if filter.is_empty() { "#".to_owned() } else { filter };
            let mut retained = Retained::default();
            let parsed = Filter::new(&filter).unwrap();
            let mut naive = BTreeSet::new();
            for topic in topics.iter().filter(|t| !t.is_empty()) {
                retained.put(held(topic, "1", None), &RealmLimits::default()).unwrap();
                if parsed.matches(&Topic::new(topic).unwrap()) {
                    naive.insert(topic.clone());
                }
            }
            let found = matching(&retained, &filter);
            prop_assert_eq!(&piecemeal(&mut retained, &filter, 2, |_| {}), &found);
            prop_assert_eq!(found.len(), naive.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), naive);
        }
    }
}
