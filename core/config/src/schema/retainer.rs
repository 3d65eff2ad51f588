//! `retainer` and `durable_sessions`: what is kept.

use std::time::Duration;

use super::mqtt::{MAX_EXPIRY, bytes, count};
use crate::emqx;
use crate::mqtt::{DurableSessions, Retainer, RetainerStorage};
use crate::reader::{Item, Reader};

/// Retained messages of one tenant: each is held in memory, with a node for each level of its topic.
const MAX_MESSAGES: u64 = 100_000_000;
/// Longest payload: the largest packet that there can be.
const MAX_PAYLOAD: u64 = 268_435_455;
/// `storage_type`
const STORAGES: [(&str, RetainerStorage); 2] = [("disc", RetainerStorage::Disc), ("ram", RetainerStorage::Ram)];
/// Bytes of all retained messages of one tenant.
const MAX_BYTES: u64 = 1 << 40;

pub(super) fn retainer(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Retainer> {
    let mut section = reader.section(item)?;
    let mut retainer = Retainer::default();
    if let Some(on) = section.take("enable").and_then(|item| reader.boolean(&item)) {
        retainer.enable = on;
    }
    bytes(reader, section.take("max_payload_size"), (1, MAX_PAYLOAD), &mut retainer.max_payload_size);
    // As in EMQX, 0 is never.
    let interval = section.take("msg_expiry_interval");
    let interval = interval.and_then(|item| reader.duration(&item, Duration::ZERO, MAX_EXPIRY));
    retainer.msg_expiry_interval = interval.filter(|interval| !interval.is_zero());
    if let Some(mut backend) = section.take("backend").and_then(|item| reader.section(&item)) {
        let item = backend.take("max_retained_messages");
        count(reader, item, (1, MAX_MESSAGES), &mut retainer.max_retained_messages);
        bytes(reader, backend.take("max_retained_size"), (1024, MAX_BYTES), &mut retainer.max_retained_size);
        if let Some(storage) = backend.take("storage_type").and_then(|item| reader.word(&item, &STORAGES)) {
            retainer.storage = storage;
        }
        reader.finish(&backend, emqx::RETAINER_BACKEND);
    }
    reader.finish(&section, emqx::RETAINER);
    Some(retainer)
}

pub(super) fn durable_sessions(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<DurableSessions> {
    let mut section = reader.section(item)?;
    let mut durable = DurableSessions::default();
    if let Some(on) = section.take("enable").and_then(|item| reader.boolean(&item)) {
        durable.enable = on;
    }
    if let Some(on) = section.take("fsync").and_then(|item| reader.boolean(&item)) {
        durable.fsync = on;
    }
    reader.finish(&section, emqx::DURABLE_SESSIONS);
    Some(durable)
}
