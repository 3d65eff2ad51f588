//! What one connection may ask for.

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
    /// User properties in one packet; those of a will count apart. [`USER_PROPERTIES`]
    pub user_properties: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE. [`FILTERS`]
    pub filters: usize,
    /// Longest keep alive in seconds; 0 is no cap. A 5.0 client is told through Server Keep Alive; 3.x has no
    /// way to say it, so such a client is held to the cap all the same. [`KEEP_ALIVE_MAX_S`]
    pub keep_alive_max_s: u16,
    /// What a client gets that asks for keep alive 0 (none), in seconds; 0 lets it be silent for ever. 5.0 and
    /// 3.x as above. [`KEEP_ALIVE_DEFAULT_S`]
    pub keep_alive_default_s: u16,
    /// The Authentication Methods that are offered (4.12); a CONNECT with another one is refused. Names of 5.0 alone.
    pub authentication_methods: &'static [&'static str],
}

/// Room for long credentials and a will, yet 10,000 strangers hold no more than 160 MB.
pub const CONNECT_PACKET_BYTES: u32 = 16 * 1024;
/// As other brokers have it.
pub const PACKET_BYTES: u32 = 1024 * 1024;
/// A device publishes to few topics; each alias pins one topic name of up to 64 KiB.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 16;
/// A client that watches one device gets every topic short; each alias keeps one topic name of up to 1 KiB.
pub const OUTBOUND_TOPIC_ALIASES: u16 = 16;
/// Each costs two allocations here and once more for every subscriber it is written to.
pub const USER_PROPERTIES: usize = 64;
/// A packet of 1 MiB could otherwise hold 350,000 filters, each of them an insertion.
pub const FILTERS: usize = 1_024;
/// A vanished client holds its slot for three hours at most.
pub const KEEP_ALIVE_MAX_S: u16 = 7_200;
/// As long as the cap allows: the client asked for no pings at all.
pub const KEEP_ALIVE_DEFAULT_S: u16 = KEEP_ALIVE_MAX_S;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_packet_bytes: CONNECT_PACKET_BYTES,
            packet_bytes: PACKET_BYTES,
            topic_alias_maximum: TOPIC_ALIAS_MAXIMUM,
            outbound_topic_aliases: OUTBOUND_TOPIC_ALIASES,
            user_properties: USER_PROPERTIES,
            filters: FILTERS,
            keep_alive_max_s: KEEP_ALIVE_MAX_S,
            keep_alive_default_s: KEEP_ALIVE_DEFAULT_S,
            authentication_methods: &[],
        }
    }
}

impl Limits {
    /// The keep alive that holds for a client that asked for `requested` seconds; 0 is none.
    pub(crate) fn keep_alive_s(&self, requested: u16) -> u16 {
        let wished = if requested == 0 { self.keep_alive_default_s } else { requested };
        match (wished, self.keep_alive_max_s) {
            (wished, 0) => wished,
            (0, _) => 0,
            (wished, max) => wished.min(max),
        }
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
            assert_eq!(limits.keep_alive_s(wish), held, "{max} {default} {wish}");
        }
    }
}
