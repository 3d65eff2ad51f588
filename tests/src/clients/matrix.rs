//! Which libraries there are, and what each of them speaks.

use std::fmt;
use std::path::Path;

use super::stage::Program;
use crate::broker;
use crate::programs;

/// Where cargo puts the program that plays rumqttc, seen from its target directory.
const RUMQTTC: &str = "clients/debug/play-rumqttc";

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Version {
    V3_1,
    V3_1_1,
    V5,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V3_1, Self::V3_1_1, Self::V5];
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// A way to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS, the server's certificate alone.
    Ssl,
    /// TLS with a client certificate that the listener demands.
    Mutual,
    /// WebSocket.
    Ws,
    /// WebSocket under TLS with a client certificate that the listener demands.
    Wss,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Ssl, Self::Mutual, Self::Ws, Self::Wss];
    /// Those without WebSocket.
    const STREAMS: [Self; 3] = [Self::Tcp, Self::Ssl, Self::Mutual];

    /// As the programs are told.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ssl | Self::Mutual => "ssl",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// As tables say it.
    pub fn name(self) -> &'static str {
        if self == Self::Mutual { "ssl+cert" } else { self.scheme() }
    }
}

/// A library or a set of programs that somebody else wrote.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    /// Its name where it is published.
    pub name: &'static str,
    /// The versions of MQTT that it speaks.
    pub versions: &'static [Version],
    /// The transports that it speaks.
    pub transports: &'static [Transport],
    /// What it does not speak, in words.
    pub lacks: &'static str,
    program: fn() -> Program,
}

/// All of them.
pub const LIBRARIES: [Library; 4] = [
    Library {
        name: "paho-mqtt",
        versions: &Version::ALL,
        transports: &Transport::ALL,
        lacks: "",
        program: || python("play_paho.py"),
    },
    Library { name: "mqtt.js", versions: &Version::ALL, transports: &Transport::ALL, lacks: "", program: mqtt_js },
    Library {
        name: "rumqttc",
        versions: &[Version::V3_1_1, Version::V5],
        transports: &Transport::ALL,
        lacks: "rumqttc does not speak MQTT 3.1",
        program: rumqttc,
    },
    Library {
        name: "mosquitto",
        versions: &Version::ALL,
        transports: &Transport::STREAMS,
        lacks: "mosquitto_pub and mosquitto_sub, as Debian packages them, speak no WebSocket",
        program: || python("play_mosquitto.py"),
    },
];

impl Library {
    /// The library of this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn named(name: &str) -> Self {
        LIBRARIES.into_iter().find(|library| library.name == name).unwrap_or_else(|| panic!("no library `{name}`"))
    }

    /// What plays it.
    pub fn program(&self) -> Program {
        (self.program)()
    }
}

fn script(name: &str) -> String {
    broker::root().join("tests/clients").join(name).display().to_string()
}

pub(super) fn python(name: &str) -> Program {
    // No byte code beside the scripts: they lie in the repository.
    Program { words: vec![programs::python().display().to_string(), "-B".to_owned(), script(name)], env: Vec::new() }
}

/// `POSTERN_TEST_NODE_MODULES` says where npm put it.
fn mqtt_js() -> Program {
    let modules = std::env::var("POSTERN_TEST_NODE_MODULES").unwrap_or_default();
    Program { words: vec!["node".to_owned(), script("play_mqttjs.js")], env: vec![("NODE_PATH".to_owned(), modules)] }
}

/// Built by `cargo xtask conformance`, beside the broker's own builds.
fn rumqttc() -> Program {
    let built = broker::binary().parent().and_then(Path::parent).map(|target| target.join(RUMQTTC));
    Program { words: vec![built.unwrap_or_default().display().to_string()], env: Vec::new() }
}
