//! What a handshake may end with, and what is asked of client certificates: `ciphers`, `honor_cipher_order`, `groups`,
//! `depth`, `partial_chain`, `verify_peer_ext_key_usage`.

mod support;

use postern_config::{PartialChain, Tls};
use support::{bad, good, lines};

/// On each kind of listener that has TLS.
fn listeners(options: &str) -> [String; 2] {
    ["ssl", "wss"].map(|kind| {
        format!("listeners.{kind}.a {{ bind = 8883, ssl_options {{ certfile = c.pem, keyfile = k.pem\n{options}\n}} }}")
    })
}

/// The settings, which must be the same on both, with what is said of the keys.
fn read(options: &str) -> (Tls, String) {
    let [ssl, wss] = listeners(options).map(|text| {
        let loaded = good(&text);
        let keys = ["ciphers", "groups", "depth", "partial_chain", "usage"];
        let said: Vec<_> = loaded
            .warnings
            .iter()
            .filter(|warning| keys.iter().any(|key| warning.path.contains(key)))
            .cloned()
            .collect();
        (loaded.config.listeners[0].tls.clone().expect("TLS"), lines(&said))
    });
    assert_eq!((&ssl.0.negotiation, &ssl.0.client_path), (&wss.0.negotiation, &wss.0.client_path));
    ssl
}

const TLS13: [u16; 3] = [0x1302, 0x1301, 0x1303];

#[test]
fn suites_have_two_names_each_and_three_ways_to_be_listed() {
    let wanted = [0x1301, 0xC02F, 0xCCA9];
    for list in [
        r#"ciphers = ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]"#,
        r#"ciphers = "TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ECDHE-ECDSA-CHACHA20-POLY1305""#,
        r#"ciphers = "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256""#,
    ] {
        let (tls, said) = read(list);
        assert_eq!((tls.negotiation.ciphers.as_slice(), said.as_str()), (&wanted[..], ""), "{list}");
    }
    for empty in ["ciphers = []", "ciphers = \"\"", ""] {
        let (tls, said) = read(empty);
        assert!(tls.negotiation.ciphers.is_empty() && tls.negotiation.honor_cipher_order && said.is_empty(), "{said}");
    }
    assert!(!read("honor_cipher_order = false").0.negotiation.honor_cipher_order);
}

#[test]
fn suites_of_tls_1_3_come_in_front_where_the_list_knows_none() {
    let old = "ciphers = \"ECDHE-ECDSA-AES128-GCM-SHA256\"";
    assert_eq!(read(old).0.negotiation.ciphers, [&TLS13[..], &[0xC02B]].concat());
    assert_eq!(read(&format!("{old}, versions = [tlsv1.2]")).0.negotiation.ciphers, [0xC02B]);
}

#[test]
fn suites_that_are_never_spoken_are_left_out_with_one_warning() {
    let of_emqx = "ciphers = \"TLS_AES_256_GCM_SHA384,TLS_AES_128_CCM_SHA256,ECDHE-ECDSA-AES256-GCM-SHA384,\
                   ECDHE-RSA-AES256-SHA384,DHE-DSS-AES256-SHA256,AES128-SHA,RSA-PSK-AES256-CBC-SHA384\"";
    let (tls, said) = read(of_emqx);
    assert_eq!(tls.negotiation.ciphers, [0x1302, 0xC02C]);
    let words = "ciphers: left out: `TLS_AES_128_CCM_SHA256`, `ECDHE-RSA-AES256-SHA384`, `DHE-DSS-AES256-SHA256`, \
                 `AES128-SHA` and 1 others: never spoken here";
    assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    for (list, version) in [
        ("ciphers = [AES128-SHA]", "1.2"),
        ("ciphers = [TLS_AES_128_GCM_SHA256]", "1.2"),
        ("ciphers = [ECDHE-RSA-AES128-GCM-SHA256, TLS_AES_128_CCM_SHA256]", "1.3"),
        ("ciphers = [AES128-SHA], versions = [tlsv1.2]", "1.2"),
        ("ciphers = [TLS_AES_128_CCM_8_SHA256], versions = [tlsv1.3]", "1.3"),
    ] {
        for text in listeners(list) {
            let said = lines(&bad(&text));
            let words = format!("no cipher suite of TLS {version} is left, and `versions` has it");
            assert!(said.contains(&words) && said.lines().count() == 1, "{list}: {said}");
        }
    }
    assert_eq!(read("ciphers = [TLS_AES_128_GCM_SHA256], versions = [tlsv1.3]").0.negotiation.ciphers, [0x1301]);
}

#[test]
fn names_that_are_none_are_told_with_the_nearest_one() {
    for (options, words) in [
        ("ciphers = [ECDHE-ECDSA-AES128-GCM-SHA257]", "did you mean `ECDHE-ECDSA-AES128-GCM-SHA256`?"),
        ("ciphers = \"HIGH:!aNULL\"", "`HIGH` is not the name of a cipher suite"),
        ("ciphers = 7", "`7` is not the name of a cipher suite"),
        ("groups = [x25518]", "`x25518` is not the name of a key exchange group; did you mean `x25519`?"),
        ("groups = [secp521r1]", "no key exchange group is left"),
        ("groups = [X25519MLKEM768]", "no key exchange group of TLS 1.2 is left"),
        ("depth = -1", "is not a whole number from 0 to 255"),
        ("partial_chain = three_cacerts_from_cacertfile", "is not one of `false`, `true`, `cacert_from_cacertfile`"),
        ("verify_peer_ext_key_usage = clientAut", "is not an extended key usage; did you mean `clientAuth`?"),
        ("verify_peer_ext_key_usage = \"OID:1.02\"", "`OID:1.02` is not an extended key usage"),
    ] {
        for text in listeners(options) {
            let said = lines(&bad(&text));
            assert!(said.contains(words), "{options}: {said}");
        }
    }
}

#[test]
fn groups_have_their_usual_names() {
    let groups = |options: &str| read(options).0.negotiation.groups;
    assert_eq!(groups(""), [0x11EC, 0x1D, 0x17, 0x18]);
    assert_eq!(groups("groups = []"), [0x11EC, 0x1D, 0x17, 0x18]);
    assert_eq!(groups("groups = \"P-384:X25519:prime256v1\""), [0x18, 0x1D, 0x17]);
    assert_eq!(groups("groups = [secp384r1, SecP256r1MLKEM768]"), [0x18, 0x11EB]);
    assert_eq!(groups("groups = [x25519mlkem768], versions = [tlsv1.3]"), [0x11EC]);
    let (tls, said) = read("groups = [P-521, P-256]");
    assert_eq!(tls.negotiation.groups, [0x17]);
    assert!(said.contains("groups: left out: `P-521`: not spoken here"), "{said}");
}

#[test]
fn what_is_asked_of_clients_has_emqx_s_words() {
    let of = |options: &str| read(options).0.client_path;
    assert_eq!((of("").depth, of("").partial_chain, of("").usages.len()), (10, PartialChain::Roots, 0));
    for (word, chain) in [
        ("false", PartialChain::Roots),
        ("true", PartialChain::Last),
        ("cacert_from_cacertfile", PartialChain::Last),
        ("two_cacerts_from_cacertfile", PartialChain::LastTwo),
    ] {
        assert_eq!(of(&format!("partial_chain = {word}")).partial_chain, chain);
    }
    let usages = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9", "1.3.6.1.4.1.99999.1"];
    let text = "verify_peer_ext_key_usage = \"clientAuth, ocspSigning,OID:1.3.6.1.4.1.99999.1,clientAuth\"";
    assert_eq!(of(text).usages, usages);
    let list = "verify_peer_ext_key_usage = [clientAuth, ocspSigning, \"OID:1.3.6.1.4.1.99999.1\"]";
    assert_eq!(of(list).usages, usages);
    for (depth, told) in [(0, false), (6, false), (7, true), (10, true)] {
        let (tls, said) = read(&format!("depth = {depth}"));
        assert_eq!(tls.client_path.depth, depth);
        assert_eq!(
            said.contains("depth: paths of more than 6 intermediate certificates are never followed"),
            told,
            "{said}"
        );
    }
}
