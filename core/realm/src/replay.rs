//! Retained messages on their way to a new subscriber: a few in each turn, as its window and its connection allow,
//! while live messages go on (section 3.3.1.3).
//!
//! A replay is a place in the tree of retained messages and goes on from there however the tree has changed meanwhile.
//! A message that was stored after the subscription was made reached the session as a live one already and is passed
//! over, unless live ones were lost because the client is slow. A session has one replay for each filter at most:
//! subscribing again begins it anew. UNSUBSCRIBE and the end of the connection end it.

use std::collections::VecDeque;
use std::sync::Arc;

use postern_mqtt::Filter;

use crate::announcing::is_announced;
use crate::limits::{REPLAY_VISITS, REPLAY_VISITS_TOTAL};
use crate::queue::Outgoing;
use crate::realm::Realm;
use crate::retained::Cursor;
use crate::rights::may_receive;
use crate::session::{Offered, SessionId};
use crate::topics::Options;
use crate::turn::Effect;

/// What one filter has still to bring.
#[derive(Debug)]
struct Replay {
    filter: Filter,
    options: Options,
    cursor: Cursor,
    /// The last message that was stored before the subscription was made.
    last: u64,
}

/// The replays of one session, in the order of its requests; no more than it has subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    list: VecDeque<Replay>,
    /// A live message was lost since they began.
    lost: bool,
}

impl Replays {
    pub(crate) fn begin(&mut self, filter: Filter, options: Options, last: u64) {
        self.end(&filter);
        self.list.push_back(Replay { filter, options, cursor: Cursor::default(), last });
    }

    /// The subscription goes on with other options.
    pub(crate) fn change(&mut self, filter: &Filter, options: Options) {
        if let Some(replay) = self.list.iter_mut().find(|replay| replay.filter == *filter) {
            replay.options = options;
        }
    }

    pub(crate) fn end(&mut self, filter: &Filter) {
        self.list.retain(|replay| replay.filter != *filter);
    }

    /// A live message was lost: what is stored for its topic is to come if its place is still ahead.
    pub(crate) fn live_lost(&mut self) {
        self.lost = !self.list.is_empty();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Realm {
    /// Comes back to the session at the end of this turn, or of the next if that has begun.
    pub(crate) fn come_back(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Gives each session that has more to send its share of this turn.
    pub(crate) fn go_on(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let mut visits = REPLAY_VISITS_TOTAL;
        // Who finds no visits left is the first in the next turn.
        let mut first = VecDeque::new();
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let has_more = session.pump(now, &self.limits, &mut self.books, effects);
            if visits == 0 && !session.replays.is_empty() {
                first.push_back(id);
                continue;
            }
            session.is_ready = false;
            let has_more = self.replay(id, &mut visits, effects) || has_more;
            if has_more {
                self.come_back(id);
            }
        }
        first.append(&mut self.ready);
        self.ready = first;
    }

    /// Sends retained messages: with RETAIN [MQTT-3.3.1-8], at the lower QoS [MQTT-3.8.4-8], with the subscription's
    /// identifier [MQTT-3.3.4-4]. Whether there are more to send in the next turn.
    fn replay(&mut self, id: SessionId, visits: &mut usize, effects: &mut Vec<Effect>) -> bool {
        let now = self.now();
        let Self { sessions, retained, announced, books, limits, .. } = self;
        let Some(session) = sessions.get_mut(&id) else { return false };
        let rights = session.rights.clone();
        let share = REPLAY_VISITS.min(*visits);
        let mut left = share;
        let mut offered = Offered::Taken;
        let lost = session.replays.lost;
        while let Some(Replay { filter, options, mut cursor, last }) = session.replays.list.pop_front() {
            // A filter that nothing matches costs something too.
            left = left.saturating_sub(1);
            // No filter matches in both.
            let store = if is_announced(&filter) { &*announced } else { &*retained };
            let complete = store.walk(&filter, &mut cursor, &mut left, |held| {
                if (held.number > last && !lost) || (options.no_local && held.publisher == session.client_id) {
                    return true;
                }
                if !may_receive(rights.as_deref(), &held.message.topic, options.qos) {
                    books.dropped.not_authorized += 1;
                    return true;
                }
                let outgoing = Outgoing {
                    number: 0,
                    message: Arc::clone(&held.message),
                    qos: if limits.upgrade_qos { options.qos } else { held.qos.min(options.qos) },
                    retain: true,
                    subscription_ids: options.subscription_id.into_iter().collect(),
                    expires_ms: held.expires_ms,
                };
                offered = session.offer(outgoing, now, limits, books, effects);
                offered == Offered::Taken
            });
            if !complete {
                session.replays.list.push_front(Replay { filter, options, cursor, last });
                break;
            }
        }
        session.replays.lost &= !session.replays.is_empty();
        *visits -= share - left;
        !session.replays.is_empty() && offered != Offered::Waits
    }
}
