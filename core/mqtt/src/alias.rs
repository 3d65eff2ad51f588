//! Topic aliases from the server to the client (3.3.2.3.4): which topics of a connection get one.
//!
//! The first topics get the aliases there are. After that, a topic that repeats takes over the alias that has not been
//! used for the longest time, so that a subscriber of many topics has its busy ones short, and those that come once
//! cost no churn. What is kept is bounded: [`crate::limits::OUTBOUND_TOPIC_ALIASES`] topics of at most
//! [`TOPIC_BYTES_MAX`] bytes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;

use crate::topic::Topic;

/// Shortest topic that is worth an alias, in bytes: the property costs three, and three more to introduce it.
const TOPIC_BYTES_MIN: usize = 6;

/// Longest topic that a connection keeps for its alias, in bytes. Longer ones are rare, and 64 KiB times 16 aliases
/// times 10,000 connections would be 10 GB.
const TOPIC_BYTES_MAX: usize = 1_024;

/// How many topics without an alias back a topic counts as repeated.
const SEEN: usize = 32;

/// What a PUBLISH says about its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The name alone.
    Name,
    /// The name, and the alias that stands for it from now on.
    Introduce(NonZeroU16),
    /// The alias alone.
    Alias(NonZeroU16),
}

#[derive(Debug, Clone, Copy)]
struct Given {
    alias: NonZeroU16,
    /// By the count of [`Aliases::uses`].
    last_use: u64,
}

/// The aliases of one connection from the server to the client.
#[derive(Debug)]
pub(crate) struct Aliases {
    maximum: u16,
    given: HashMap<Topic, Given>,
    uses: u64,
    /// Hashes of topics that came without an alias, the oldest overwritten first. Two topics with one hash cost an alias
    /// too early, nothing else.
    seen: Vec<u64>,
    next_seen: usize,
    hasher: RandomState,
}

impl Aliases {
    /// Of a connection whose client takes aliases up to `maximum`.
    pub(crate) fn new(maximum: u16) -> Self {
        let (given, seen) = (HashMap::new(), Vec::new());
        Self { maximum, given, uses: 0, seen, next_seen: 0, hasher: RandomState::new() }
    }

    /// How to say this topic now.
    pub(crate) fn naming(&mut self, topic: &Topic) -> Naming {
        let bytes = topic.as_str().len();
        if self.maximum == 0 || !(TOPIC_BYTES_MIN..=TOPIC_BYTES_MAX).contains(&bytes) {
            return Naming::Name;
        }
        self.uses += 1;
        if let Some(given) = self.given.get_mut(topic) {
            given.last_use = self.uses;
            return Naming::Alias(given.alias);
        }
        match self.free() {
            Some(alias) => Naming::Introduce(alias),
            None if self.came_before(topic) => self.oldest().map_or(Naming::Name, Naming::Introduce),
            None => Naming::Name,
        }
    }

    /// The packet that introduces `alias` is written: from now on it stands for this topic and no other.
    pub(crate) fn introduced(&mut self, topic: &Topic, alias: NonZeroU16) {
        self.given.retain(|_, given| given.alias != alias);
        self.given.insert(topic.clone(), Given { alias, last_use: self.uses });
    }

    fn free(&self) -> Option<NonZeroU16> {
        let next = u16::try_from(self.given.len()).ok()?.checked_add(1)?;
        NonZeroU16::new(next).filter(|alias| alias.get() <= self.maximum)
    }

    /// The one that has not been used for the longest time.
    fn oldest(&self) -> Option<NonZeroU16> {
        self.given.values().min_by_key(|given| given.last_use).map(|given| given.alias)
    }

    /// Whether the topic is among the last ones; it is from now on.
    fn came_before(&mut self, topic: &Topic) -> bool {
        let hash = self.hasher.hash_one(topic);
        if self.seen.contains(&hash) {
            return true;
        }
        if self.seen.len() < SEEN {
            self.seen.push(hash);
        } else {
            self.seen[self.next_seen] = hash;
            self.next_seen = (self.next_seen + 1) % SEEN;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::new(text).expect("a topic")
    }

    /// As the link does it.
    fn say(aliases: &mut Aliases, text: &str) -> (bool, u16) {
        let topic = topic(text);
        match aliases.naming(&topic) {
            Naming::Name => (true, 0),
            Naming::Introduce(alias) => {
                aliases.introduced(&topic, alias);
                (true, alias.get())
            }
            Naming::Alias(alias) => (false, alias.get()),
        }
    }

    #[test]
    fn the_first_topics_get_the_aliases_and_one_that_repeats_takes_over_the_oldest() {
        let mut aliases = Aliases::new(2);
        for (text, expected) in [
            ("sensor/a", (true, 1)),
            ("sensor/b", (true, 2)),
            ("sensor/a", (false, 1)),
            ("sensor/once", (true, 0)),
            ("sensor/c", (true, 0)),
            ("sensor/b", (false, 2)),
            ("sensor/c", (true, 1)),
            ("sensor/c", (false, 1)),
            ("sensor/b", (false, 2)),
            ("sensor/a", (true, 0)),
            ("sensor/a", (true, 1)),
            ("sensor/b", (false, 2)),
        ] {
            assert_eq!(say(&mut aliases, text), expected, "{text}");
        }
    }

    #[test]
    fn short_and_very_long_topics_get_none() {
        for (bytes, is_worth_it) in [(5, false), (6, true), (1_024, true), (1_025, false)] {
            let mut aliases = Aliases::new(10);
            let text = "x".repeat(bytes);
            assert_eq!(say(&mut aliases, &text).1 != 0, is_worth_it, "{bytes}");
            assert_eq!(say(&mut aliases, &text), if is_worth_it { (false, 1) } else { (true, 0) }, "{bytes}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut aliases = Aliases::new(16);
        for n in 0..16 {
            assert_eq!(say(&mut aliases, &format!("sensor/{n}")), (true, n + 1));
        }
        for _ in 0..2 {
            for n in 16..100 {
                assert_eq!(say(&mut aliases, &format!("sensor/{n}")), (true, 0), "too far apart to count as repeated");
            }
        }
        assert_eq!((aliases.seen.len(), aliases.given.len()), (SEEN, 16));
        for n in 0..100 {
            say(&mut aliases, &format!("again/{n}"));
            say(&mut aliases, &format!("again/{n}"));
        }
        assert_eq!((aliases.seen.len(), aliases.given.len()), (SEEN, 16));
    }
}
