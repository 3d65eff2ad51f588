//! How packets look on the wire, in all versions and for both ends.
//!
//! [`Decoder`] turns bytes into packets, [`encode`] packets into bytes. The server goes through
//! [`crate::Link`], which adds what a connection remembers.

mod decode;
mod encode;
pub(crate) mod reader;
pub(crate) mod writer;

pub use decode::Decoder;
pub(crate) use encode::{Keep, Style, encode_within};
pub use encode::{Sent, encode};

use crate::fault::Fault;
use crate::packet::{QoS, Version};

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// Table 2-1, the number is the high half of the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Connect = 1,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

impl Kind {
    /// By the high half of the first byte.
    fn of(first: u8) -> Result<Self, Fault> {
        Ok(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            reserved => return Err(Fault::ReservedType(reserved)),
        })
    }

    /// The first byte of a packet without flags of its own (table 2-2).
    fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        ((self as u8) << 4) | flags
    }

    /// Whether that end may send it (table 2-1).
    fn is_sent_by(self, sender: Sender) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq => sender == Sender::Client,
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp => sender == Sender::Server,
            _ => true,
        }
    }

    /// Checks the flags of the first byte (table 2-2). Those of PUBLISH carry meaning and are checked there.
    fn check_flags(self, first: u8, version: Option<Version>) -> Result<(), Fault> {
        // 3.1 sets DUP on what it sends again.
        let resent = version == Some(Version::V3_1)
            && matches!(self, Self::PubRel | Self::Subscribe | Self::Unsubscribe)
            && first == self.first_byte() | 0b1000;
        if self == Self::Publish || first == self.first_byte() || resent {
            return Ok(());
        }
        Err(Fault::FixedHeaderFlags)
    }
}

/// Whether these bytes begin with a PUBLISH, whole or not.
pub fn begins_with_publish(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|&first| Kind::of(first) == Ok(Kind::Publish))
}

fn qos(bits: u8) -> Result<QoS, Fault> {
    match bits & 0b11 {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Fault::QoS3),
    }
}
