//! The brokers that the cases share, and the certificates they stand on.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::journal::Line;
use postern_tests::pki::{Authority, Credentials};
use postern_tests::raw::{self, Closed};
use postern_tests::shared::Shared;
use postern_tests::tls::{Entry, Offer};
use postern_tests::wire::{Connect, V5, kind};

/// Bytes as people write them.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    assert!(digits.len() % 2 == 0, "{text}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// A broker without TLS: the tests' own listener is all it has.
pub(crate) static PLAIN: Shared<Broker> = Shared::new(plain_broker);

/// A broker without TLS for one case alone.
pub(crate) fn plain_broker() -> Broker {
    Setup::new("").start()
}

/// Sends the bytes as a client that has entered and takes the close.
pub(crate) fn refused_after_connect(version: u8, bytes: &[u8]) -> Closed {
    let broker = PLAIN.get();
    let mut client = raw::enter(broker.control(), &Connect::new(version, unique("refused")));
    let closed = client.send(bytes).closed();
    assert!(closed.packets.iter().all(|packet| packet.kind() == kind::DISCONNECT), "{bytes:02x?}: {closed:?}");
    closed
}

/// As [`refused_after_connect`], and a 5.0 client must be told this reason.
pub(crate) fn disconnected_with(bytes: &[u8], reason: u8) {
    let closed = refused_after_connect(V5, bytes);
    assert_eq!(closed.disconnect(), Some(reason), "{bytes:02x?}: {closed:?}");
}

/// A broker with tenants, names and client certificates.
pub(crate) static GATE: Shared<Gate> = Shared::new(Gate::start);

/// The names that the gate's certificates answer to.
pub(crate) mod name {
    pub(crate) const DEFAULT: &str = "localhost";
    pub(crate) const ACME: &str = "mqtt.acme.example.org";
    pub(crate) const GLOBEX: &str = "mqtt.globex.example.org";
    pub(crate) const WILD: &str = "*.t.example.org";
    pub(crate) const A_LABEL: &str = "xn--bcher-kva.example.org";
}

/// Server certificates for all names, in memory and as bundles on disk.
pub(crate) struct Certificates {
    pub(crate) server_ca: Authority,
    pub(crate) acme_ca: Authority,
    pub(crate) globex_ca: Authority,
    pub(crate) default: Credentials,
    pub(crate) acme: Credentials,
    pub(crate) globex: Credentials,
    pub(crate) wild: Credentials,
    pub(crate) a_label: Credentials,
}

impl Certificates {
    pub(crate) fn make() -> Self {
        let server_ca = Authority::new("Blackbox server CA");
        let issue = |names: &[&str]| server_ca.server(names);
        Self {
            default: issue(&[name::DEFAULT, "127.0.0.1"]),
            acme: issue(&[name::ACME]),
            globex: issue(&[name::GLOBEX]),
            wild: issue(&[name::WILD]),
            a_label: issue(&[name::A_LABEL]),
            acme_ca: Authority::new("Acme devices"),
            globex_ca: Authority::new("Globex devices"),
            server_ca,
        }
    }

    pub(crate) fn write(&self, setup: &Setup) {
        let dir = setup.dir.path();
        // The default bundle's clients belong to nobody: their authority is Acme's, so that only the
        // namespace can tell the two apart.
        self.default.write_bundle(dir, "global", "default", Some(&self.acme_ca));
        self.wild.write_bundle(dir, "global", "wild", Some(&self.acme_ca));
        self.a_label.write_bundle(dir, "global", "a-label", Some(&self.acme_ca));
        self.acme.write_bundle(dir, "ns/acme", "mqtt", Some(&self.acme_ca));
        self.globex.write_bundle(dir, "ns/globex", "mqtt", Some(&self.globex_ca));
        setup.file("server-ca.pem", self.server_ca.pem());
    }
}

/// The bundles, in the words of a listener's `ssl_options`.
pub(crate) const MANAGED: &str = r#"managed_certs = [
    { bundle_name = "default" }
    { bundle_name = "wild", sni = "*.t.example.org" }
    { bundle_name = "a-label", sni = "xn--bcher-kva.example.org" }
    { namespace = "acme", bundle_name = "mqtt", sni = "mqtt.acme.example.org" }
    { namespace = "globex", bundle_name = "mqtt", sni = "mqtt.globex.example.org" }
  ]"#;

/// An entry of `plugins` for one of ours.
pub(crate) fn entry(name: &str, config: &str) -> String {
    // The time is generous: the cases with deadlines set their own.
    format!("{{ path = \"{}\", timeout = 5s, config {{ {config} }} }}", plugin(name).display())
}

/// The namespace by the name asked for.
pub(crate) fn namespace_lookup() -> String {
    entry(
        "namespace-lookup",
        r#"rules = [
          { sni = "mqtt.acme.example.org", namespace = "acme" }
          { sni = "mqtt.globex.example.org", namespace = "globex" }
        ]"#,
    )
}

/// The identity by these rules.
pub(crate) fn mtls_identity(rules: &str) -> String {
    entry("mtls-identity", &format!("rules = [{rules}]"))
}

/// A TLS listener with the managed bundles.
pub(crate) fn listener(name: &str, options: &str, plugins: &[String]) -> String {
    format!(
        "listeners.ssl.{name} {{\n  bind = \"127.0.0.1:0\"\n  max_unauthenticated_per_address = 100000\n  \
         ssl_options {{\n  {MANAGED}\n  {options}\n  }}\n  plugins = [\n    {}\n  ]\n}}\n",
        plugins.join("\n    ")
    )
}

/// Client certificates are asked for, and their absence ends the handshake.
pub(crate) const REQUIRED: &str = "verify = verify_peer, fail_if_no_peer_cert = true";

/// The shared gate.
pub(crate) struct Gate {
    pub(crate) broker: Broker,
    pub(crate) certificates: Certificates,
}

impl Gate {
    fn start() -> Self {
        let certificates = Certificates::make();
        let selector = entry("sni-selector", "");
        let strict = entry("sni-selector", "unknown = refuse");
        let cn = r#"{ source = "subject.cn", set = "username" }"#;
        let both = r#"{ source = "subject.cn", set = "username" }, { source = "subject.cn", set = "client_id" }"#;
        let uri = r#"{ source = "san.uri", set = "username" }"#;
        let chain = |last: String| [namespace_lookup(), selector.clone(), last];
        let listeners = [
            listener("names", "verify = verify_none", &[namespace_lookup(), selector.clone()]),
            listener("strict", "verify = verify_none", &[namespace_lookup(), strict]),
            listener("mutual", REQUIRED, &chain(mtls_identity(cn))),
            listener("optional", "verify = verify_peer, fail_if_no_peer_cert = false", &chain(mtls_identity(cn))),
            listener("bound", REQUIRED, &chain(mtls_identity(both))),
            // A URI has slashes; the operator says that user names are not put into topics here.
            listener(
                "uri",
                REQUIRED,
                &chain(entry("mtls-identity", &format!("allow_topic_characters = true, rules = [{uri}]"))),
            ),
        ];
        let setup = Setup::new(&listeners.concat());
        certificates.write(&setup);
        Self { broker: setup.start(), certificates }
    }

    /// Where one of the gate's listeners is bound.
    pub(crate) fn at(&self, listener: &str) -> SocketAddr {
        self.broker.address(&format!("ssl:{listener}"))
    }

    /// Asks to enter and gives what happened and what the log says of it.
    pub(crate) fn attempt(&self, listener: &str, offer: &Offer, connect: &Connect) -> (Entry, Line) {
        // Ports come round again, so only what is said from now on is of this connection.
        let mark = self.broker.journal.mark();
        let (own, entry) = offer.enter_from(self.at(listener), connect);
        let own = own.to_string();
        let told = self.broker.journal.expect(mark, &format!("admitted or refused for {own}, {entry:?}"), |line| {
            (line.says("admitted") || line.says("refused")) && line.text("peer") == own
        });
        assert_eq!(told.says("admitted"), entry.is_admitted(), "{entry:?} against {told:?}");
        (entry, told)
    }

    /// The certificates of one device of each tenant by the same name.
    pub(crate) fn twins(&self, common_name: &str) -> (Credentials, Credentials) {
        (self.certificates.acme_ca.device(common_name), self.certificates.globex_ca.device(common_name))
    }

    pub(crate) fn assert_alive(&self) {
        assert_alive(&self.broker);
    }
}

/// The shared gate.
pub(crate) fn gate() -> Arc<Gate> {
    GATE.get()
}
