//! G: what an authorizer is told of the handshake that it is asked about.

use postern_tests::broker::{Setup, plugin};
use postern_tests::tls;
use postern_tests::wire::{Connect, V5};

use crate::fixture::{Certificates, MANAGED, REQUIRED, name};

#[test]
fn an_authorizer_learns_the_version_the_cipher_suite_and_whether_the_session_was_resumed() {
    let certificates = Certificates::make();
    let plugin = plugin("hostile");
    let setup = Setup::new(&format!(
        "listeners.ssl.told {{ bind = \"127.0.0.1:0\"\n\
         ssl_options {{ {MANAGED}\n {REQUIRED}\n session_tickets = stateless_with_cert }}\n\
         plugins = [{{ path = \"{}\", config {{ identity {{ do = report-session }} }} }}] }}\n",
        plugin.display()
    ));
    certificates.write(&setup);
    let broker = setup.start();
    let device = certificates.acme_ca.device("device-1");
    for (offer, version, suites) in [
        (tls::naming(name::DEFAULT), "TLSv1.3", [0x1301_u16, 0x1302, 0x1303].as_slice()),
        (tls::naming(name::DEFAULT).tls12(), "TLSv1.2", &[0xC02B, 0xC02C, 0xCCA9]),
    ] {
        let client = offer.showing(&device).returning();
        for resumed in [false, true] {
            let mark = broker.journal.mark();
            let (own, entry) = client.enter_from(broker.address("ssl:told"), &Connect::new(V5, "told"));
            assert!(!entry.is_admitted(), "{entry:?}");
            let own = own.to_string();
            let refused =
                broker.journal.expect(mark, "a refusal", |line| line.says("refused") && line.text("peer") == own);
            let detail = refused.text("detail");
            let of = |suite: &u16| format!("Some((\"{version}\", {suite}, {resumed})) of Some(\"{}\")", name::DEFAULT);
            assert!(suites.iter().map(of).any(|told| detail.contains(&told)), "{version} {resumed}: {detail}");
        }
    }
}
