//! The last retained message of each topic (section 3.3.1.3).

use std::collections::{BTreeMap, BTreeSet};
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
}

/// All retained messages of a realm.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    tree: Tree<Option<Held>>,
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
        let node = self.tree.grow(topic.levels());
        *self.tree.value_mut(node) = Some(held);
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

    /// Hands the messages whose topic `filter` matches to `take`, in the order of their levels. Ends early,
    /// and returns false, when that does or when no `visits` are left.
    pub(crate) fn matching(&self, filter: &Filter, visits: &mut usize, mut take: impl FnMut(&Held) -> bool) -> bool {
        let levels: Vec<&str> = filter.levels().collect();
        // A depth beyond the filter stands for what is below its `#`.
        let mut ahead: Vec<(NodeId, usize)> = vec![(ROOT, 0)];
        while let Some((node, depth)) = ahead.pop() {
            let Some(left) = visits.checked_sub(1) else { return false };
            *visits = left;
            let level = levels.get(depth).copied();
            let below_hash = depth > levels.len();
            let ends_here = below_hash || level.is_none() || level == Some("#");
            if ends_here
                && let Some(held) = self.tree.value(node)
                && !take(held)
            {
                return false;
            }
            match level {
                Some("#") => self.visit(node, depth, levels.len() + 1, &mut ahead),
                Some("+") => self.visit(node, depth, depth + 1, &mut ahead),
                Some(name) => ahead.extend(self.tree.child(node, name).map(|child| (child, depth + 1))),
                None if below_hash => self.visit(node, depth, depth, &mut ahead),
                None => {}
            }
        }
        true
    }

    /// All children but, under a leading wildcard, those with a `$` (MQTT-4.7.2-1).
    fn visit(&self, node: NodeId, depth: usize, next: usize, ahead: &mut Vec<(NodeId, usize)>) {
        let children = self.tree.children(node).filter(|(level, _)| depth > 0 || !level.starts_with('$'));
        ahead.extend(children.rev().map(|(_, child)| (child, next)));
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
        Held { message: Arc::new(message), qos: QoS::AtMostOnce, expires_ms, publisher: "p".into() }
    }

    fn matching(retained: &Retained, filter: &str) -> Vec<String> {
        let mut topics = Vec::new();
        let complete = retained.matching(&Filter::new(filter).unwrap(), &mut 1000, |held| {
            topics.push(held.message.topic.as_str().to_owned());
            true
        });
        assert!(complete);
        topics
    }

    #[test]
    fn a_replay_ends_with_its_visits() {
        let mut retained = Retained::default();
        for topic in ["a", "b", "c"] {
            retained.put(held(topic, "1", None), &RealmLimits::default()).unwrap();
        }
        for (visits, found) in [(3, 2), (4, 3)] {
            let (mut left, mut count) = (visits, 0);
            let complete = retained.matching(&Filter::new("+").unwrap(), &mut left, |_| {
                count += 1;
                true
            });
            assert_eq!((complete, count, left), (found == 3, found, 0), "one of the visits is for the root");
        }
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
            prop_assert_eq!(found.len(), naive.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), naive);
        }
    }
}
