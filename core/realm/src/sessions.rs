//! The sessions of a realm, and which of them somebody has had in hand since the end of the last turn.

use std::collections::{BTreeSet, HashMap};

use postern_mqtt::Filter;

use crate::image::Image;
use crate::journal::Journal;
use crate::session::{Session, SessionId};
use crate::topics::Topics;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    // Never walked where the order shows, so that a turn has one outcome.
    all: HashMap<SessionId, Session>,
    /// Each once.
    touched: Vec<SessionId>,
    ended: Vec<(SessionId, Box<Image>, BTreeSet<Filter>)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "asked like the map that it stands for")]
impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<&Session> {
        self.all.get(id)
    }

    /// A session to be changed. One of which something is written is looked at when the turn ends.
    pub(crate) fn get_mut(&mut self, id: &SessionId) -> Option<&mut Session> {
        let session = self.all.get_mut(id)?;
        if session.image.is_some() && !session.is_touched {
            session.is_touched = true;
            self.touched.push(*id);
        }
        Some(session)
    }

    /// The session is to be kept from now on, if it was not.
    pub(crate) fn keep(&mut self, id: SessionId) {
        if let Some(session) = self.all.get_mut(&id)
            && session.is_kept()
            && !session.is_touched
        {
            session.is_touched = true;
            self.touched.push(id);
        }
    }

    /// All sessions are to be looked at when the turn ends.
    pub(crate) fn keep_all(&mut self) {
        let mut ids: Vec<SessionId> = self.all.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.keep(id);
        }
    }

    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        self.all.insert(id, session);
    }

    pub(crate) fn remove(&mut self, id: &SessionId) -> Option<Session> {
        let mut session = self.all.remove(id)?;
        if let Some(image) = session.image.take() {
            self.ended.push((*id, image, session.subscriptions.clone()));
        }
        Some(session)
    }

    /// Tells the journal what has changed.
    pub(crate) fn write(&mut self, topics: &Topics, journal: &mut Journal) {
        for id in self.touched.drain(..) {
            if let Some(session) = self.all.get_mut(&id) {
                session.is_touched = false;
                session.write(id, topics, journal);
            }
        }
        for (id, image, subscriptions) in self.ended.drain(..) {
            image.erase(id, &subscriptions, journal);
        }
    }
}
