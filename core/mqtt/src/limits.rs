//! What one connection may ask for.

use std::num::NonZeroU16;

use crate::packet::Version;

/// Bounds of one connection. All sizes are those of whole packets, fixed header included, as the standard
/// counts its Maximum Packet Size (2.1.4).
///
/// # Defaults
///
/// See the constant named beside each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet before CONNACK in bytes: what a stranger may make us buffer. [`CONNECT_PACKET_BYTES`]
    pub connect_packet_bytes: u32,
    /// Largest packet after CONNACK in bytes. [`PACKET_BYTES`]
    pub packet_bytes: u32,
    /// Highest inbound topic alias; CONNACK must announce it. [`TOPIC_ALIAS_MAXIMUM`]
    pub topic_alias_maximum: u16,
    /// Highest outbound topic alias; the client's Topic Alias Maximum may lower it, 0 is none.
    /// [`OUTBOUND_TOPIC_ALIASES`]
    pub outbound_topic_aliases: u16,
    /// Longest client identifier in bytes. [`CLIENT_ID_BYTES`]
    pub client_id_bytes: usize,
    /// Longest topic name, or filter with its share, in bytes. [`TOPIC_BYTES`]
    pub topic_bytes: usize,
    /// Levels of a topic name or filter; at most [`crate::topic::MAX_LEVELS`]. [`TOPIC_LEVELS`]
    pub topic_levels: usize,
    /// User properties in one packet; those of a will count apart. [`USER_PROPERTIES`]
    pub user_properties: usize,
    /// Bytes of the names and values of the user properties in one packet; those of a will count apart.
    /// [`USER_PROPERTY_BYTES`]
    pub user_property_bytes: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE. [`FILTERS`]
    pub filters: usize,
    /// The keep alive of all 5.0 clients in seconds, whatever they ask for; they are told through Server Keep Alive.
    /// None by default: it is the client that knows what its network needs.
    pub server_keep_alive_s: Option<NonZeroU16>,
    /// Longest keep alive of a 5.0 client in seconds; 0 is no cap. It is told as above. [`KEEP_ALIVE_MAX_S`]
    pub keep_alive_max_s: u16,
    /// What a 5.0 client gets that asks for keep alive 0 (none), in seconds; 0 lets it be silent for ever. It is told
    /// as above. [`KEEP_ALIVE_DEFAULT_S`]
    pub keep_alive_default_s: u16,
    /// The Authentication Methods that are offered (4.12); a CONNECT with another one is refused. Names of 5.0 alone.
    pub authentication_methods: &'static [&'static str],
    /// Both of a client of 3.x, which cannot be told: it is held to them where it goes beyond anything ordinary.
    /// 0 is no cap. [`KEEP_ALIVE_UNTOLD_S`]
    pub keep_alive_untold_s: u16,
    /// After how much of its keep alive a silent client is given up, in percent. [`KEEP_ALIVE_PERCENT`]
    pub keep_alive_percent: u16,
}

/// Room for long credentials and a will, yet 10,000 strangers hold no more than 160 MB.
pub const CONNECT_PACKET_BYTES: u32 = 16 * 1024;
/// As other brokers have it.
pub const PACKET_BYTES: u32 = 1024 * 1024;
/// A device publishes to few topics; each alias pins one topic name of up to 64 KiB.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 16;
/// A client that watches one device gets every topic short; each alias keeps one topic name of up to 1 KiB.
pub const OUTBOUND_TOPIC_ALIASES: u16 = 16;
/// Twice what the longest names of devices need; each is in the log lines and the tables of its connection.
pub const CLIENT_ID_BYTES: usize = 256;
/// Long for a topic that people made. Each level is a node of a tree, and retained ones stay.
pub const TOPIC_BYTES: usize = 1_024;
/// As above: the work of a filter with wildcards grows with the depth.
pub const TOPIC_LEVELS: usize = 64;
/// Each costs two allocations here and once more for every subscriber it is written to.
pub const USER_PROPERTIES: usize = 64;
/// They go with the message to every subscriber and into every queue; what is larger belongs into the payload.
pub const USER_PROPERTY_BYTES: usize = 16 * 1024;
/// A packet of 1 MiB could otherwise hold 350,000 filters, each of them an insertion. Hubs of home automation put
/// 500 into one.
pub const FILTERS: usize = 1_024;
/// A vanished client holds its slot for half an hour at most.
pub const KEEP_ALIVE_MAX_S: u16 = 1_200;
/// Half of the cap: the client asked for no pings at all, and yet has to be missed when it is gone.
pub const KEEP_ALIVE_DEFAULT_S: u16 = 600;
/// Longer than any ordinary keep alive, so that hardly a client of 3.x is cut off that could not know.
pub const KEEP_ALIVE_UNTOLD_S: u16 = 7_200;
/// As the standard wants it (MQTT-3.1.2-22).
pub const KEEP_ALIVE_PERCENT: u16 = 150;

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        connect_packet_bytes: CONNECT_PACKET_BYTES,
        packet_bytes: PACKET_BYTES,
        topic_alias_maximum: TOPIC_ALIAS_MAXIMUM,
        outbound_topic_aliases: OUTBOUND_TOPIC_ALIASES,
        client_id_bytes: CLIENT_ID_BYTES,
        topic_bytes: TOPIC_BYTES,
        topic_levels: TOPIC_LEVELS,
        user_properties: USER_PROPERTIES,
        user_property_bytes: USER_PROPERTY_BYTES,
        filters: FILTERS,
        server_keep_alive_s: None,
        keep_alive_max_s: KEEP_ALIVE_MAX_S,
        keep_alive_default_s: KEEP_ALIVE_DEFAULT_S,
        authentication_methods: &[],
        keep_alive_untold_s: KEEP_ALIVE_UNTOLD_S,
        keep_alive_percent: KEEP_ALIVE_PERCENT,
    };

    /// The keep alive that holds for a client that asked for `requested` seconds; 0 is none.
    pub(crate) fn keep_alive_s(&self, version: Version, requested: u16) -> u16 {
        let (default, max) = match (version, self.server_keep_alive_s) {
            (Version::V5, Some(seconds)) => return seconds.get(),
            (Version::V5, None) => (self.keep_alive_default_s, self.keep_alive_max_s),
            (Version::V3_1 | Version::V3_1_1, _) => (self.keep_alive_untold_s, self.keep_alive_untold_s),
        };
        let wished = if requested == 0 { default } else { requested };
        match (wished, max) {
            (wished, 0) => wished,
            (0, _) => 0,
            (wished, max) => wished.min(max),
        }
    }

    /// How long a client of this keep alive may be silent, in milliseconds.
    pub(crate) fn silence_ms(&self, keep_alive_s: u16) -> u64 {
        u64::from(keep_alive_s) * 10 * u64::from(self.keep_alive_percent)
    }

    /// Whether a topic name or filter is within the bounds.
    pub(crate) fn admits_topic(&self, text: &str) -> bool {
        text.len() <= self.topic_bytes && text.bytes().filter(|&b| b == b'/').count() < self.topic_levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_14_the_keep_alive_is_the_wish_the_default_or_the_cap() {
        for (max, default, wish, held) in [
            (100, 50, 0, 50),
            (100, 50, 99, 99),
            (100, 50, 65_535, 100),
            (100, 200, 0, 100),
            (100, 0, 0, 0),
            (0, 50, 0, 50),
            (0, 50, 65_535, 65_535),
            (0, 0, 0, 0),
        ] {
            let limits = Limits { keep_alive_max_s: max, keep_alive_default_s: default, ..Limits::default() };
            assert_eq!(limits.keep_alive_s(Version::V5, wish), held, "{max} {default} {wish}");
        }
    }

    #[test]
    fn a_keep_alive_of_the_server_holds_for_5_0_alone_and_the_long_cap_for_3_x() {
        let limits = Limits { server_keep_alive_s: NonZeroU16::new(30), ..Limits::default() };
        for (version, wish, held) in [
            (Version::V5, 0, 30),
            (Version::V5, 10, 30),
            (Version::V5, 65_535, 30),
            (Version::V3_1_1, 0, KEEP_ALIVE_UNTOLD_S),
            (Version::V3_1_1, 10, 10),
            (Version::V3_1, 65_535, KEEP_ALIVE_UNTOLD_S),
        ] {
            assert_eq!(limits.keep_alive_s(version, wish), held, "{version} {wish}");
        }
    }

    #[test]
    fn a_topic_is_bounded_in_bytes_and_in_levels() {
        let limits = Limits { topic_bytes: 5, topic_levels: 3, ..Limits::default() };
        for (topic, admitted) in [("a/b/c", true), ("abcde", true), ("abcdef", false), ("////", false), ("//", true)] {
            assert_eq!(limits.admits_topic(topic), admitted, "{topic}");
        }
    }
}
