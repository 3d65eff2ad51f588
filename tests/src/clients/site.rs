//! A broker with a listener for every transport, and what a client needs to reach each.

use serde_json::{Value, json};

use super::matrix::{Transport, Version};
use super::scenarios::DENYING;
use crate::broker::{Broker, Setup};
use crate::pki::Authority;

/// The server's certificate has this name.
const HOST: &str = "localhost";

/// The listeners; the files are written beside the configuration. For 3.1 mqtt.js offers a sub-protocol that no
/// listener takes by default.
const LISTENERS: &str = r#"
listeners.ssl.open { bind = "127.0.0.1:0", ssl_options { certfile = "server.pem", keyfile = "server.key" } }
listeners.ssl.mutual {
  bind = "127.0.0.1:0"
  ssl_options {
    certfile = "server.pem", keyfile = "server.key", cacertfile = "devices.pem"
    verify = verify_peer, fail_if_no_peer_cert = true
  }
}
listeners.ws.web { bind = "127.0.0.1:0", websocket.supported_subprotocols = "mqtt, mqttv3.1" }
listeners.wss.mutual {
  bind = "127.0.0.1:0"
  websocket.supported_subprotocols = "mqtt, mqttv3.1"
  ssl_options {
    certfile = "server.pem", keyfile = "server.key", cacertfile = "devices.pem"
    verify = verify_peer, fail_if_no_peer_cert = true
  }
}
"#;

/// The broker of the scenarios.
pub struct Site {
    /// The process.
    pub broker: Broker,
}

impl Site {
    /// Makes certificates and starts the broker.
    pub fn start() -> Self {
        let setup = Setup::new(LISTENERS).and(DENYING);
        let (servers, devices) = (Authority::new("Servers"), Authority::new("Devices"));
        servers.server(&[HOST]).write(setup.dir.path(), "server");
        devices.device("device").write(setup.dir.path(), "device");
        setup.file("servers.pem", servers.pem());
        setup.file("devices.pem", devices.pem());
        Self { broker: setup.start() }
    }

    /// What a client is told of one of the listeners.
    pub fn at(&self, transport: Transport, version: Version) -> Value {
        let (listener, files): (_, &[_]) = match transport {
            Transport::Tcp => ("tcp:control", &[]),
            Transport::Ssl => ("ssl:open", &[("ca", "servers.pem")]),
            Transport::Ws => ("ws:web", &[]),
            Transport::Mutual => ("ssl:mutual", &WITH_CERTIFICATE),
            Transport::Wss => ("wss:mutual", &WITH_CERTIFICATE),
        };
        let mut at = json!({
            "transport": transport.scheme(),
            "version": version.to_string(),
            // Without TLS the address itself, so that no other address of the name is tried first.
            "host": if files.is_empty() { "127.0.0.1" } else { HOST },
            "port": self.broker.address(listener).port(),
        });
        for (key, file) in files {
            at[key] = json!(self.broker.dir().join(file));
        }
        at
    }
}

const WITH_CERTIFICATE: [(&str, &str); 3] =
    [("ca", "servers.pem"), ("certificate", "device.pem"), ("key", "device.key")];
