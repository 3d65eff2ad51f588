//! Who subscribed to what: a tree of filters, walked along the levels of a topic (section 4.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_mqtt::packet::QoS;
use postern_mqtt::{Filter, Topic};

use crate::session::SessionId;
use crate::shared::{Group, Standing};
use crate::tree::{NodeId, ROOT, Tree};

/// How a subscription wants its messages (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_id: Option<u32>,
}

/// A subscription that a topic matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) session: SessionId,
    pub(crate) options: Options,
}

/// What ends at one filter.
#[derive(Debug, Default)]
struct Place {
    subscribers: BTreeMap<SessionId, Options>,
    groups: BTreeMap<Arc<str>, Group>,
}

impl Place {
    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.groups.is_empty()
    }
}

/// All subscriptions of a realm.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    tree: Tree<Place>,
    count: usize,
    shared: usize,
}

impl Topics {
    /// Adds a subscription or replaces its options, without a moment between (MQTT-3.8.4-3). Whether it is new.
    pub(crate) fn subscribe(&mut self, session: SessionId, filter: &Filter, options: Options) -> bool {
        let node = self.tree.grow(filter.levels());
        let place = self.tree.value_mut(node);
        let is_new = match filter.share() {
            None => place.subscribers.insert(session, options).is_none(),
            Some(name) => match place.groups.get_mut(name) {
                Some(group) => group.join(session, options),
                None => place.groups.entry(name.into()).or_default().join(session, options),
            },
        };
        self.count += usize::from(is_new);
        self.shared += usize::from(is_new && filter.share().is_some());
        is_new
    }

    /// The options of a subscription, if there is one.
    pub(crate) fn options(&self, session: SessionId, filter: &Filter) -> Option<Options> {
        let place = self.tree.value(self.tree.find(filter.levels())?);
        match filter.share() {
            None => place.subscribers.get(&session).copied(),
            Some(name) => place.groups.get(name)?.options(session),
        }
    }

    /// Whether there was such a subscription.
    pub(crate) fn unsubscribe(&mut self, session: SessionId, filter: &Filter) -> bool {
        let Some(node) = self.tree.find(filter.levels()) else { return false };
        let place = self.tree.value_mut(node);
        let existed = match filter.share() {
            None => place.subscribers.remove(&session).is_some(),
            Some(name) => {
                let left = place.groups.get_mut(name).is_some_and(|group| group.leave(session));
                if place.groups.get(name).is_some_and(Group::is_empty) {
                    place.groups.remove(name);
                }
                left
            }
        };
        self.count -= usize::from(existed);
        self.shared -= usize::from(existed && filter.share().is_some());
        self.tree.prune(node, Place::is_empty);
        existed
    }

    /// The subscriptions that `topic` matches: into `own` the ordinary ones, sorted by session, into
    /// `shared` one for each group.
    pub(crate) fn hits(
        &mut self,
        topic: &Topic,
        standing: impl Fn(SessionId, Options) -> Standing,
        own: &mut Vec<Hit>,
        shared: &mut Vec<Hit>,
    ) {
        for node in self.matching(topic) {
            let place = self.tree.value_mut(node);
            own.extend(place.subscribers.iter().map(|(&session, &options)| Hit { session, options }));
            let picked = place.groups.values_mut().filter_map(|group| group.pick(&standing));
            shared.extend(picked.map(|(session, options)| Hit { session, options }));
        }
        own.sort_by_key(|hit| hit.session);
    }

    /// Each node is visited once at most, since a node has one depth: the work is bounded by the filters held.
    fn matching(&self, topic: &Topic) -> Vec<NodeId> {
        let levels: Vec<&str> = topic.levels().collect();
        let mut matching = Vec::new();
        let mut ahead = vec![(ROOT, 0)];
        while let Some((node, depth)) = ahead.pop() {
            // MQTT-4.7.2-1: a leading wildcard does not match a leading `$`.
            let wildcards = depth > 0 || !topic.is_reserved();
            if wildcards {
                // `#` stands for the parent level as well.
                matching.extend(self.tree.child(node, "#"));
            }
            let Some(level) = levels.get(depth) else {
                matching.push(node);
                continue;
            };
            if wildcards {
                ahead.extend(self.tree.child(node, "+").map(|child| (child, depth + 1)));
            }
            ahead.extend(self.tree.child(node, level).map(|child| (child, depth + 1)));
        }
        matching
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether any of them begins with this level.
    pub(crate) fn has_first_level(&self, level: &str) -> bool {
        self.tree.child(ROOT, level).is_some()
    }

    /// How many of them are shared.
    pub(crate) fn shared_count(&self) -> usize {
        self.shared
    }
}

#[cfg(test)]
impl Options {
    pub(crate) fn plain(qos: QoS) -> Self {
        Self { qos, no_local: false, retain_as_published: false, subscription_id: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sessions(topics: &mut Topics, topic: &str) -> Vec<u64> {
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        topics.hits(&Topic::new(topic).unwrap(), |_, _| Standing::Here, &mut own, &mut shared);
        own.iter().chain(&shared).map(|hit| hit.session.0).collect()
    }

    fn topics(filters: &[&str]) -> Topics {
        let mut topics = Topics::default();
        for (session, filter) in (0..).zip(filters) {
            topics.subscribe(SessionId(session), &Filter::new(filter).unwrap(), Options::plain(QoS::AtMostOnce));
        }
        topics
    }

    #[test]
    fn section_4_7_1_examples() {
        let mut topics = topics(&["sport/tennis/player1/#", "sport/#", "#", "sport/+", "+/+", "/+", "+", "sport/+/x"]);
        for (topic, expected) in [
            ("sport/tennis/player1", &[0, 1, 2][..]),
            ("sport/tennis/player1/score/wimbledon", &[0, 1, 2]),
            ("sport", &[1, 2, 6]),
            ("sport/", &[1, 2, 3, 4]),
            ("/finance", &[2, 4, 5]),
            ("sport//x", &[1, 2, 7]),
            ("Sport", &[2, 6]),
        ] {
            assert_eq!(sessions(&mut topics, topic), expected, "{topic}");
        }
    }

    #[test]
    fn mqtt_4_7_2_1_leading_wildcards_do_not_match_a_leading_dollar() {
        let mut topics = topics(&["#", "+/info", "$SYS/#", "$SYS/+", "$x/info", "a/+"]);
        assert_eq!(sessions(&mut topics, "$SYS/x"), [2, 3]);
        assert_eq!(sessions(&mut topics, "$x/info"), [4]);
        assert_eq!(sessions(&mut topics, "a/$x"), [0, 5], "a dollar that does not lead is ordinary");
    }

    #[test]
    fn the_same_filter_under_two_names_is_two_groups() {
        let mut topics = topics(&["$share/g/a", "$share/g/a", "$share/h/a", "a"]);
        assert_eq!(sessions(&mut topics, "a"), [3, 0, 2]);
        assert_eq!(sessions(&mut topics, "a"), [3, 1, 2]);
        assert!(!topics.unsubscribe(SessionId(0), &Filter::new("$share/h/a").unwrap()));
        assert!(topics.unsubscribe(SessionId(0), &Filter::new("$share/g/a").unwrap()));
        assert_eq!((topics.count(), topics.shared_count()), (3, 2));
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["", "a", "b", "$x", "é"])
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5).prop_map(|l| l.join("/")).prop_filter("empty", |t| !t.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![3 => level(), 1 => Just("+")], 0..5);
        (levels, any::<bool>())
            .prop_map(|(mut levels, all)| {
                if all {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("empty", |f| !f.is_empty())
    }

    proptest! {
        #[test]
        fn the_tree_matches_what_each_filter_matches(
            filters in prop::collection::vec(filter(), 0..20),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topic in topic(),
        ) {
            let mut tree = Topics::default();
            let mut held = BTreeMap::new();
            for (session, filter) in (0..).zip(&filters) {
                let filter = Filter::new(filter).unwrap();
                tree.subscribe(SessionId(session), &filter, Options::plain(QoS::AtMostOnce));
                held.insert(session, filter);
            }
            for index in gone.iter().filter(|_| !filters.is_empty()) {
                let session = index.index(filters.len()) as u64;
                let expected = held.remove(&session);
                let filter = Filter::new(&filters[index.index(filters.len())]).unwrap();
                prop_assert_eq!(tree.unsubscribe(SessionId(session), &filter), expected.is_some());
            }
            prop_assert_eq!(tree.count(), held.len());
            let parsed = Topic::new(&topic).unwrap();
            let naive: Vec<u64> = held.iter().filter(|(_, f)| f.matches(&parsed)).map(|(&s, _)| s).collect();
            prop_assert_eq!(sessions(&mut tree, &topic), naive);
            for (session, filter) in held {
                tree.unsubscribe(SessionId(session), &filter);
            }
            prop_assert_eq!(tree.tree.node_count(), 1, "nothing is left behind");
        }
    }
}
