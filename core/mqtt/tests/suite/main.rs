//! The protocol machine and the wire format, from outside: hostile bytes by case id, the conversation, and
//! properties that hold for all packets.

mod aliases;
mod authenticating;
mod connecting;
mod conversation;
mod framing;
mod messages;
mod packets;
mod round_trip;
mod talk;
mod topics;
