//! What of a turn must be kept, and which messages are.
//!
//! A message is written once, however many sessions and retained topics refer to it, and taken away with the last of
//! them. Times are kept by the wall clock, since the monotonic one begins anew with each process.

use std::collections::HashMap;
use std::sync::Arc;

use postern_mqtt::packet::Message;

use crate::records::{Key, encode_message};

/// What of a realm outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Sessions with an expiry above 0, with all that is theirs, and the wills of all clients.
    pub sessions: bool,
    /// Retained messages.
    pub retained: bool,
}

impl Kept {
    /// Whether there is anything to keep.
    pub fn anything(self) -> bool {
        self.sessions || self.retained
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) kept: Kept,
    /// Wall-clock milliseconds since 1970 where the monotonic ones were 0.
    epoch_ms: u64,
    /// By the address of the message, which is its own as long as it is held here.
    messages: HashMap<usize, Stored>,
    next_message: u64,
    writes: Vec<(Key, Option<Vec<u8>>)>,
}

#[derive(Debug)]
struct Stored {
    id: u64,
    references: usize,
    message: Arc<Message>,
}

fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}

impl Journal {
    pub(crate) fn new(kept: Kept) -> Self {
        Self { kept, ..Self::default() }
    }

    /// The two clocks show these times now.
    pub(crate) fn tell_time(&mut self, now_ms: u64, wall_ms: u64) {
        self.epoch_ms = wall_ms.saturating_sub(now_ms);
    }

    /// From the monotonic clock to that on the wall.
    pub(crate) fn to_wall(&self, ms: u64) -> u64 {
        ms.saturating_add(self.epoch_ms)
    }

    /// From the clock on the wall to the monotonic one; what was before its beginning is its beginning.
    pub(crate) fn monotonic(&self, ms: u64) -> u64 {
        ms.saturating_sub(self.epoch_ms)
    }

    pub(crate) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    pub(crate) fn cut(&mut self, key: Key) {
        self.writes.push((key, None));
    }

    /// One more refers to the message. The number of its record.
    pub(crate) fn hold(&mut self, message: &Arc<Message>) -> u64 {
        if let Some(stored) = self.messages.get_mut(&address(message)) {
            debug_assert!(Arc::ptr_eq(&stored.message, message), "an address is one message's as long as it is held");
            stored.references += 1;
            return stored.id;
        }
        let id = self.next_message;
        self.next_message += 1;
        self.put(Key::Message(id), encode_message(message));
        let stored = Stored { id, references: 1, message: Arc::clone(message) };
        self.messages.insert(address(message), stored);
        id
    }

    /// The number of a message's record. It is held.
    pub(crate) fn number_of(&self, message: &Arc<Message>) -> u64 {
        self.messages.get(&address(message)).map_or(u64::MAX, |stored| stored.id)
    }

    /// One less refers to the message.
    pub(crate) fn release(&mut self, message: &Arc<Message>) {
        let Some(stored) = self.messages.get_mut(&address(message)) else { return };
        stored.references -= 1;
        if stored.references == 0 {
            let id = stored.id;
            self.messages.remove(&address(message));
            self.cut(Key::Message(id));
        }
    }

    /// The message is there already, and nobody refers to it yet.
    pub(crate) fn recall(&mut self, id: u64, message: Arc<Message>) {
        self.next_message = self.next_message.max(id.saturating_add(1));
        self.messages.insert(address(&message), Stored { id, references: 0, message });
    }

    /// Takes away the messages that nobody refers to.
    pub(crate) fn forget_unreferred(&mut self) {
        let Self { messages, writes, .. } = self;
        messages.retain(|_, stored| {
            if stored.references == 0 {
                writes.push((Key::Message(stored.id), None));
            }
            stored.references > 0
        });
    }

    /// What was read is there: it needs no writing.
    pub(crate) fn discard(&mut self) {
        self.writes.clear();
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Key, Option<Vec<u8>>)> {
        self.writes.drain(..)
    }

    #[cfg(test)]
    pub(crate) fn message_count(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_mqtt::Topic;

    use super::*;

    fn message() -> Arc<Message> {
        Arc::new(Message::new(Topic::new("t").unwrap(), Bytes::from_static(b"payload")))
    }

    fn writes(journal: &mut Journal) -> Vec<(Key, bool)> {
        journal.drain().map(|(key, value)| (key, value.is_some())).collect()
    }

    #[test]
    fn a_message_is_written_once_and_goes_with_the_last_that_refers_to_it() {
        let (first, second) = (message(), message());
        let mut journal = Journal::default();
        assert_eq!([&first, &first, &second, &first].map(|m| journal.hold(m)), [0, 0, 1, 0]);
        assert_eq!(writes(&mut journal), [(Key::Message(0), true), (Key::Message(1), true)]);
        journal.release(&first);
        journal.release(&first);
        assert_eq!(writes(&mut journal), []);
        journal.release(&first);
        assert_eq!(writes(&mut journal), [(Key::Message(0), false)]);
        assert_eq!(journal.hold(&first), 2, "a number is never used twice");
        assert_eq!(journal.message_count(), 2);
    }

    #[test]
    fn a_message_that_was_read_keeps_its_number_and_is_not_written_again() {
        let (kept, orphan) = (message(), message());
        let mut journal = Journal::default();
        journal.recall(7, Arc::clone(&kept));
        journal.recall(9, orphan);
        assert_eq!(journal.hold(&kept), 7);
        journal.forget_unreferred();
        assert_eq!(writes(&mut journal), [(Key::Message(9), false)]);
        assert_eq!(journal.hold(&message()), 10);
    }

    #[test]
    fn times_are_carried_from_one_process_to_the_next_by_the_wall_clock() {
        let (mut before, mut after) = (Journal::default(), Journal::default());
        before.tell_time(50_000, 1_700_000_050_000);
        after.tell_time(100, 1_700_000_080_100);
        assert_eq!(after.monotonic(before.to_wall(90_000)), 10_000);
        assert_eq!(after.monotonic(before.to_wall(60_000)), 0, "gone by meanwhile");
    }
}
