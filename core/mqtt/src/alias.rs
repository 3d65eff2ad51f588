//! Topic aliases from the server to the client (3.3.2.3.4): which topics of a connection get one.
//!
//! The first topics that repeat get the aliases there are and keep them as long as the connection lasts. Nothing is
//! ever assigned anew, so a subscriber of many topics costs no churn, and what is kept is bounded:
//! [`crate::limits::OUTBOUND_TOPIC_ALIASES`] topics of at most [`TOPIC_BYTES_MAX`] bytes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;

use crate::topic::Topic;

/// Shortest topic that is worth an alias, in bytes: the property costs three, and three more to introduce it.
const TOPIC_BYTES_MIN: usize = 8;

/// Longest topic that a connection keeps for its alias, in bytes. Longer ones are rare, and 64 KiB times 16 aliases
/// times 10,000 connections would be 10 GB.
const TOPIC_BYTES_MAX: usize = 1_024;

/// How many topics back a topic counts as repeated.
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

/// The aliases of one connection from the server to the client.
#[derive(Debug)]
pub(crate) struct Aliases {
    maximum: u16,
    given: HashMap<Topic, NonZeroU16>,
    /// Hashes of topics that came once, the oldest overwritten first. Two topics with one hash cost an alias too
    /// early, nothing else.
    seen: Vec<u64>,
    next_seen: usize,
    hasher: RandomState,
}

impl Aliases {
    /// Of a connection whose client takes aliases up to `maximum`.
    pub(crate) fn new(maximum: u16) -> Self {
        Self { maximum, given: HashMap::new(), seen: Vec::new(), next_seen: 0, hasher: RandomState::new() }
    }

    /// How to say this topic now.
    pub(crate) fn naming(&mut self, topic: &Topic) -> Naming {
        let bytes = topic.as_str().len();
        if self.maximum == 0 || !(TOPIC_BYTES_MIN..=TOPIC_BYTES_MAX).contains(&bytes) {
            return Naming::Name;
        }
        if let Some(&alias) = self.given.get(topic) {
            return Naming::Alias(alias);
        }
        match self.free() {
            Some(alias) if self.came_before(topic) => Naming::Introduce(alias),
            _ => Naming::Name,
        }
    }

    /// The packet that introduces `alias` is written.
    pub(crate) fn introduced(&mut self, topic: &Topic, alias: NonZeroU16) {
        self.given.insert(topic.clone(), alias);
        if self.free().is_none() {
            self.seen = Vec::new();
        }
    }

    fn free(&self) -> Option<NonZeroU16> {
        let next = u16::try_from(self.given.len()).ok()?.checked_add(1)?;
        NonZeroU16::new(next).filter(|alias| alias.get() <= self.maximum)
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
    fn the_first_topics_that_repeat_get_the_aliases() {
        let mut aliases = Aliases::new(2);
        for (text, expected) in [
            ("sensor/once", (true, 0)),
            ("sensor/b", (true, 0)),
            ("sensor/b", (true, 1)),
            ("sensor/b", (false, 1)),
            ("sensor/c", (true, 0)),
            ("sensor/c", (true, 2)),
            ("sensor/once", (true, 0)),
            ("sensor/once", (true, 0)),
            ("sensor/b", (false, 1)),
            ("sensor/c", (false, 2)),
        ] {
            assert_eq!(say(&mut aliases, text), expected, "{text}");
        }
    }

    #[test]
    fn short_and_very_long_topics_get_none() {
        let mut aliases = Aliases::new(10);
        for (bytes, is_worth_it) in [(7, false), (8, true), (1_024, true), (1_025, false)] {
            let text = "x".repeat(bytes);
            say(&mut aliases, &text);
            say(&mut aliases, &text);
            assert_eq!(say(&mut aliases, &text).1 != 0, is_worth_it, "{bytes}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut aliases = Aliases::new(16);
        for _ in 0..2 {
            for n in 0..100 {
                assert_eq!(say(&mut aliases, &format!("sensor/{n}")), (true, 0), "too far apart to count as repeated");
            }
        }
        assert_eq!((aliases.seen.len(), aliases.given.len()), (SEEN, 0));
        for n in 0..100 {
            say(&mut aliases, &format!("again/{n}"));
            say(&mut aliases, &format!("again/{n}"));
        }
        assert_eq!((aliases.seen.capacity(), aliases.given.len()), (0, 16));
    }
}
