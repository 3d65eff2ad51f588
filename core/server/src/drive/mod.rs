//! The two drivers: socket to link to mailbox, and mailbox to realm to outboxes.

pub(crate) mod allowance;
pub(crate) mod connection;
pub(crate) mod mountpoint;
pub(crate) mod outbox;
pub(crate) mod realm;
pub(crate) mod system;
