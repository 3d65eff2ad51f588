//! The lives of a realm: it begins with what its records say, and again when its disk has failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_mqtt::reason::ReasonCode;
use tokio::sync::mpsc;

use super::realm::{Command, Watch, drive};
use super::storage::{Broken, Storage};
use crate::durability::{Alive, Revival};

/// Pause before a realm whose disk failed is brought back.
const REVIVAL_PAUSE: Duration = Duration::from_secs(2);

/// Runs until every handle of the mailbox is gone. Begins with `alive`, or else with what the records say.
pub(crate) async fn live(
    revival: Arc<Revival>,
    mut alive: Option<Alive>,
    mut mailbox: mpsc::Receiver<Command>,
    mut watch: Watch,
) {
    loop {
        let again = Arc::clone(&revival);
        let revived = match alive.take() {
            Some(alive) => Ok(alive),
            None => tokio::task::spawn_blocking(move || again.revive().map_err(|error| error.to_string()))
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        let ended = match revived {
            Ok(alive) => {
                watch.log.revived();
                one_life(alive, &mut mailbox, revival.began, &mut watch).await
            }
            Err(error) => Err(Broken(error)),
        };
        let Err(Broken(error)) = ended else { return };
        watch.log.broken(&error);
        if !send_away(&mut mailbox, Instant::now() + REVIVAL_PAUSE).await {
            return;
        }
    }
}

async fn one_life(
    alive: Alive,
    mailbox: &mut mpsc::Receiver<Command>,
    began: Instant,
    watch: &mut Watch,
) -> Result<(), Broken> {
    let Alive { mut realm, disk } = alive;
    let mut storage = Storage::new(disk);
    let mut seats = HashMap::new();
    let ended = drive(&mut realm, &mut storage, mailbox, &mut seats, (began, watch)).await;
    if ended.is_err() {
        for seat in seats.values() {
            seat.close(ReasonCode::SERVER_UNAVAILABLE);
        }
    } else {
        storage.close().await;
    }
    ended
}

/// Sends everybody away who comes before `until`. False where nobody can come any more.
async fn send_away(mailbox: &mut mpsc::Receiver<Command>, until: Instant) -> bool {
    loop {
        match tokio::time::timeout_at(until.into(), mailbox.recv()).await {
            Err(_) => return true,
            Ok(None) => return false,
            Ok(Some(Command::Attach { seat, .. })) => seat.send_away(ReasonCode::SERVER_UNAVAILABLE),
            Ok(Some(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
