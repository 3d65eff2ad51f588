//! The order of a realm's turns and its disk: no effect of a turn goes out before what the turn must keep is committed.
//!
//! At most one turn is ahead of the disk. When there is no room, the batch waits with its effects and is tried again;
//! the realm goes on with what needs none. When the disk fails otherwise, nobody knows what it holds: the realm is
//! given up and comes back from its records.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use postern_mqtt::Packet;
use postern_mqtt::packet::{Disconnect, QoS};
use postern_mqtt::reason::ReasonCode;
use postern_realm::{ConnId, Effect, Realm};
use postern_store::{StoreError, Write};

use super::disk::Disk;
use crate::durability::wall_ms;

/// Pause before a batch that found no room is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Effects that wait for room; more end the connections that they are for.
const HELD_EFFECTS: usize = 65_536;

/// See the module.
pub(crate) struct Storage {
    disk: Option<Disk>,
    /// Empty between turns; kept for its memory.
    batch: Vec<Write>,
    full: Option<Full>,
}

/// What waits for room.
#[derive(Default)]
struct Full {
    /// The latest of each record, so that there are no more than records.
    writes: BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>,
    held: Vec<Effect>,
    /// Whom they are for: what comes later for them waits behind.
    waiting: HashSet<ConnId>,
    retry_at: Option<Instant>,
}

/// What is new of the disk.
#[derive(Debug)]
pub(crate) enum News {
    Nothing,
    /// There is no room any more.
    Full(StoreError),
    /// There is room again.
    Room,
}

/// The realm must come back from its records.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Storage {
    pub(crate) fn new(disk: Option<Disk>) -> Self {
        Self { disk, batch: Vec::new(), full: None }
    }

    /// When [`Storage::retry`] is to be called though nothing happens.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.full.as_ref().and_then(|full| full.retry_at)
    }

    /// Commits what the turn must keep and leaves in `effects` what may go out then. `early` is given before what
    /// need not wait.
    pub(crate) async fn settle(
        &mut self,
        realm: &mut Realm,
        effects: &mut Vec<Effect>,
        mut early: impl FnMut(&mut Vec<Effect>),
    ) -> Result<News, Broken> {
        let Some(disk) = &self.disk else { return Ok(News::Nothing) };
        let batch = &mut self.batch;
        realm.take_writes(wall_ms(), |table, key, value| batch.push(Write { table, key, value }));
        if let Some(full) = &mut self.full {
            full.take(batch, effects);
            return Ok(News::Nothing);
        }
        if batch.is_empty() {
            return Ok(News::Nothing);
        }
        let mut waiting = HashSet::new();
        let mut later = Vec::with_capacity(effects.len());
        hold(effects, true, &mut waiting, &mut later);
        if !effects.is_empty() {
            early(effects);
        }
        *effects = later;
        match commit(disk, &mut self.batch).await {
            Ok(()) => {
                self.batch.clear();
                Ok(News::Nothing)
            }
            Err(Refused::NoRoom(error)) => {
                let mut full = Full { retry_at: Some(Instant::now() + RETRY), ..Full::default() };
                full.add(&mut self.batch);
                (full.held, full.waiting) = (std::mem::take(effects), waiting);
                self.full = Some(full);
                realm.set_full(true);
                Ok(News::Full(error))
            }
            Err(Refused::Broken(text)) => Err(Broken(text)),
        }
    }

    /// Tries again what found no room, if it is time to. What waited for it is then in `effects`.
    pub(crate) async fn retry(&mut self, realm: &mut Realm, effects: &mut Vec<Effect>) -> Result<News, Broken> {
        let (Some(disk), Some(full)) = (&self.disk, &mut self.full) else { return Ok(News::Nothing) };
        if full.retry_at.is_none_or(|at| Instant::now() < at) {
            return Ok(News::Nothing);
        }
        let writes = std::mem::take(&mut full.writes);
        self.batch.extend(writes.into_iter().map(|((table, key), value)| Write { table, key, value }));
        match commit(disk, &mut self.batch).await {
            Ok(()) => {
                self.batch.clear();
                effects.append(&mut full.held);
                self.full = None;
                realm.set_full(false);
                Ok(News::Room)
            }
            Err(Refused::NoRoom(_)) => {
                full.add(&mut self.batch);
                full.retry_at = Some(Instant::now() + RETRY);
                Ok(News::Nothing)
            }
            Err(Refused::Broken(text)) => Err(Broken(text)),
        }
    }

    pub(crate) async fn close(self) {
        if let Some(disk) = self.disk {
            disk.close().await;
        }
    }
}

impl Full {
    /// A turn while there is no room: its writes wait, and its effects if it has any or others of theirs wait already.
    fn take(&mut self, batch: &mut Vec<Write>, effects: &mut Vec<Effect>) {
        let writes = !batch.is_empty();
        self.add(batch);
        hold(effects, writes, &mut self.waiting, &mut self.held);
        if self.held.len() > HELD_EFFECTS {
            for conn in self.waiting.drain() {
                let farewell = Some(Disconnect::new(ReasonCode::QUOTA_EXCEEDED));
                effects.push(Effect::Close { conn, farewell });
            }
            self.held.clear();
        }
    }

    fn add(&mut self, batch: &mut Vec<Write>) {
        self.writes.extend(batch.drain(..).map(|Write { table, key, value }| ((table, key), value)));
    }
}

/// Takes out of `effects` what must wait: what belongs to a turn with writes, apart from messages of QoS 0, and what is
/// for a connection for which something waits.
fn hold(effects: &mut Vec<Effect>, writes: bool, waiting: &mut HashSet<ConnId>, held: &mut Vec<Effect>) {
    if !writes && waiting.is_empty() {
        return;
    }
    for effect in std::mem::take(effects) {
        let (Effect::Send { conn, .. } | Effect::Close { conn, .. } | Effect::Refused { conn, .. }) = &effect;
        let depends = writes && !is_qos_0(&effect);
        if depends || waiting.contains(conn) {
            waiting.insert(*conn);
            held.push(effect);
        } else {
            effects.push(effect);
        }
    }
}

fn is_qos_0(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { packet: Packet::Publish(publish), .. } if publish.qos == QoS::AtMostOnce)
}

enum Refused {
    NoRoom(StoreError),
    Broken(String),
}

/// The batch is what it was, unless the thread is gone.
async fn commit(disk: &Disk, batch: &mut Vec<Write>) -> Result<(), Refused> {
    let Some((given_back, result)) = disk.commit(std::mem::take(batch)).await else {
        return Err(Refused::Broken("the thread of the database ended by a fault of the broker".to_owned()));
    };
    *batch = given_back;
    result.map_err(|error| match error {
        error if error.is_no_room() => Refused::NoRoom(error),
        error => Refused::Broken(error.to_string()),
    })
}

#[cfg(test)]
mod tests;
