//! MQTT 3.1, 3.1.1 and 5.0 without I/O, clock or runtime.
//!
//! [`packet`] is the one model of all versions, [`topic`] holds names and filters that are valid by
//! construction, [`link`] is the protocol machine of one connection: bytes in, packets out, packets in,
//! bytes out. [`wire`] is the format itself, for either end; whoever plays the client uses it directly.
//! Nothing outside this crate knows which version a connection speaks.

mod alias;
pub mod exchange;
mod fault;
pub mod limits;
pub mod link;
pub mod packet;
mod property;
pub mod reason;
pub mod topic;
pub mod wire;

pub use fault::Fault;
pub use limits::Limits;
pub use link::{Link, LinkError, Sent};
pub use packet::Packet;
pub use reason::ReasonCode;
pub use topic::{Filter, Topic};
