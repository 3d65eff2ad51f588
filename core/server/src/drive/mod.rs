//! The two drivers: socket to link to mailbox, and mailbox to realm to outboxes.

pub(crate) mod allowance;
pub(crate) mod connection;
pub(crate) mod disk;
pub(crate) mod life;
pub(crate) mod mountpoint;
pub(crate) mod outbox;
mod output;
pub(crate) mod realm;
pub(crate) mod stall;
pub(crate) mod storage;
pub(crate) mod system;
