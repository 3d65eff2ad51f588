//! One tenant's world: sessions, subscriptions, retained messages, wills and shared groups.
//!
//! A [`Realm`] works in turns: it is given the time and what happened, and answers with what is to be
//! done. It does no I/O, reads no clock and draws no random number: the same inputs give the
//! same outputs. Two tenants are two realms, and no value is reachable from both.

mod announcing;
mod deadlines;
mod durable;
mod flow;
mod image;
mod inflight;
mod journal;
mod limits;
mod queue;
mod realm;
mod records;
mod replay;
mod restore;
mod retained;
mod rights;
mod routing;
mod session;
mod sessions;
mod shared;
mod size;
mod subscribing;
mod topics;
mod tree;
mod turn;
mod will;

pub use journal::Kept;
pub use limits::{RealmLimits, TURN_BYTES};
pub use realm::Realm;
pub use records::FORMAT;
pub use restore::Restore;
pub use size::held_bytes;
pub use turn::{ConnId, Departure, Dropped, Effect, Exhausted, Input, Owner, Refused, Rights, Stats};
