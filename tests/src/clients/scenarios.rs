//! What is played, the same for all libraries.

mod five;
mod plain;
mod state;

use super::matrix::Version;
use super::stage::{Played, Stage};

/// One story with its expected end.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// As tables and logs name it.
    pub name: &'static str,
    /// The first version that knows what it is about.
    pub since: Version,
    /// The story.
    pub play: fn(&mut Stage) -> Played,
}

/// Below this topic every client is denied everything, where the broker has [`DENYING`] in its configuration.
pub const DENIED: &str = "denied";

/// The rules that the scenario about refusals wants.
pub const DENYING: &str =
    "authorization { no_match = allow, rules = [{ permission = deny, topics = [\"denied/#\", \"eq denied/#\"] }] }";

/// All of them.
pub const ALL: [Scenario; 25] = [
    from(Version::V3_1, "connect and ping", plain::connect_and_ping),
    from(Version::V3_1, "round trips", plain::round_trips),
    from(Version::V3_1, "payload sizes", plain::payload_sizes),
    from(Version::V3_1, "1,000 messages in order at QoS 0", plain::order_at_0),
    from(Version::V3_1, "1,000 messages in order at QoS 1", plain::order_at_1),
    from(Version::V3_1, "1,000 messages in order at QoS 2", plain::order_at_2),
    from(Version::V3_1, "wildcards and unsubscribing", plain::wildcards),
    from(Version::V3_1, "clean close", plain::clean_close),
    from(Version::V3_1, "shared subscription", plain::shared),
    from(Version::V3_1_1, "refused subscription and message", plain::refused),
    from(Version::V3_1, "retained messages", state::retained_messages),
    from(Version::V3_1, "will", state::will),
    from(Version::V3_1, "session with queued messages", state::session),
    from(Version::V3_1, "take-over", state::takeover),
    from(Version::V5, "session expiry", state::session_expiry),
    from(Version::V5, "user properties in order", five::user_properties),
    from(Version::V5, "a user property's name again", five::user_properties_again),
    from(Version::V5, "response topic and correlation data", five::request_response),
    from(Version::V5, "message expiry", five::message_expiry),
    from(Version::V5, "subscription identifiers", five::identifiers),
    from(Version::V5, "topic alias of the client", five::alias_of_the_client),
    from(Version::V5, "topic alias of the broker", five::alias_of_the_broker),
    from(Version::V5, "no local", five::no_local),
    from(Version::V5, "retain handling", five::retain_handling),
    from(Version::V5, "server keep alive", five::server_keep_alive),
];

const fn from(since: Version, name: &'static str, play: fn(&mut Stage) -> Played) -> Scenario {
    Scenario { name, since, play }
}
