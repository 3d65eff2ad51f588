//! What people read when something is wrong, word for word.

mod support;

use support::{bad, good, lines, load_with};

/// The text's only problem.
#[track_caller]
fn says(text: &str, expect: &str) {
    assert_eq!(lines(&bad(text)), format!("{expect}\n"), "{text}");
}

/// A listener that is open on purpose.
const TCP: &str = "listeners.tcp.a.bind = 1883\n";

#[track_caller]
fn says_beside_a_listener(text: &str, expect: &str) {
    says(&format!("{TCP}{text}"), expect);
}

#[test]
fn an_empty_configuration_is_told_what_it_needs() {
    says(
        "",
        "etc/postern.conf:1:1: listeners: there is no listener, so that no client could connect; \
         write for example `listeners.tcp.default { bind = \"127.0.0.1:1883\" }`",
    );
}

#[test]
fn a_misspelt_key_is_told_with_its_place_and_the_right_one() {
    says(
        "listeners.ssl.default {\n  bind = 8883\n  ssl_options {\n    certfile = a\n    keyfile = b\n    verfy = verify_none\n  }\n}",
        "etc/postern.conf:6:5: listeners.ssl.default.ssl_options.verfy: unknown key; did you mean `verify`?",
    );
    for (text, path, near) in [
        (
            "listeners.ssl.a { bind = 1, ssl_options { certfil = a, keyfile = b } }",
            "ssl.a.ssl_options.certfil",
            "certfile",
        ),
        (
            "listeners.ssl.a { bind = 1, ssl_options.managed_cert = [] }",
            "ssl.a.ssl_options.managed_cert",
            "managed_certs",
        ),
        ("listeners.tcp.a { bnd = 1 }", "tcp.a.bnd", "bind"),
    ] {
        let said = lines(&bad(text));
        assert_eq!(said.lines().count(), 1, "the missing key is not told as well: {said}");
        assert!(said.ends_with(&format!("listeners.{path}: unknown key; did you mean `{near}`?\n")), "{said}");
    }
    says_beside_a_listener("node.nam = x", "etc/postern.conf:2:1: node.nam: unknown key; did you mean `name`?");
    says_beside_a_listener("blah = x", "etc/postern.conf:2:1: blah: unknown key");
}

#[test]
fn a_fault_deep_in_a_list_has_its_own_place() {
    says(
        "listeners.ssl.default {\n  bind = 8883\n  ssl_options.managed_certs = [\n    { bundle_name = ok }\n    { bundle_name = \"../x\" }\n  ]\n}",
        "etc/postern.conf:5:21: listeners.ssl.default.ssl_options.managed_certs[1].bundle_name: `../x` is no bundle \
         name: the character '.' is not allowed; letters, digits, '-' and '_' are",
    );
}

#[test]
fn numbers_out_of_range_are_refused_and_never_wrapped() {
    for value in ["70000", "-1", "4294967328", "1.5", "many"] {
        says_beside_a_listener(
            &format!("mqtt.max_inflight = {value}"),
            &format!("etc/postern.conf:2:21: mqtt.max_inflight: `{value}` is not a whole number from 1 to 1024"),
        );
    }
    says(
        "listeners.tcp.a.bind = 70000",
        "etc/postern.conf:1:24: listeners.tcp.a.bind: `70000` is no address to listen on; write a port from 0 to 65535 \
         or an address with one: `8883`, `\"127.0.0.1:8883\"`, `\"[::1]:8883\"`",
    );
}

#[test]
fn the_wrong_kind_of_value_is_named() {
    says(
        "listeners.tcp.a { bind = 1, enable = 7 }",
        "etc/postern.conf:1:38: listeners.tcp.a.enable: must be true or false, not a number",
    );
    says_beside_a_listener("node = 5", "etc/postern.conf:2:8: node: must be an object, `{ … }`, not a number");
    says_beside_a_listener(
        "mqtt.max_inflight = [1]",
        "etc/postern.conf:2:21: mqtt.max_inflight: must be a whole number from 1 to 1024, not a list",
    );
}

#[test]
fn a_word_that_is_none_gets_the_list_and_a_guess() {
    says_beside_a_listener(
        "log.level = wran",
        "etc/postern.conf:2:13: log.level: `wran` is not one of `error`, `warn`, `info`, `debug`, `trace`; did you mean `warn`?",
    );
}

#[test]
fn durations_and_sizes_say_how_they_are_written() {
    says_beside_a_listener(
        "mqtt.session_expiry_interval = soon",
        "etc/postern.conf:2:32: mqtt.session_expiry_interval: `soon` is not a duration; write it as `15s`, `500ms` or `1h30m`",
    );
    says_beside_a_listener(
        "mqtt.max_packet_size = 1XB",
        "etc/postern.conf:2:24: mqtt.max_packet_size: `1XB` is not a size; write it as `512KB`, `16MB` or bytes",
    );
    says_beside_a_listener(
        "mqtt.max_packet_size = 1GB",
        "etc/postern.conf:2:24: mqtt.max_packet_size: `1GB` is not from 64 to 268435460 bytes",
    );
}

#[test]
fn listeners_of_other_types_are_refused_in_words() {
    says_beside_a_listener(
        "listeners.quic.default { bind = 14567 }",
        "etc/postern.conf:2:1: listeners.quic: listeners of type `quic` are not supported yet by this version of \
         Postern; remove it, or use `tcp`, `ssl`, `ws` or `wss`",
    );
    says_beside_a_listener(
        "listeners.sll.default { bind = 8083 }",
        "etc/postern.conf:2:1: listeners.sll: unknown type of listener; did you mean `ssl`?",
    );
}

#[test]
fn two_listeners_on_one_address_are_told_of_each_other() {
    says(
        "listeners.tcp.a.bind = 1883\nlisteners.tcp.b.bind = \"127.0.0.1:1883\"",
        "etc/postern.conf:2:24: listeners.tcp.b.bind: 127.0.0.1:1883 is taken by `tcp:a` at etc/postern.conf:1:24; \
         give one of them another port, or `enable = false`",
    );
    good("listeners.tcp.a.bind = 0\nlisteners.tcp.b.bind = 0");
    good("listeners.tcp.a.bind = 1883\nlisteners.tcp.b { bind = 1883, enable = false }");
    good("listeners.tcp.a.bind = \"127.0.0.1:1883\"\nlisteners.tcp.b.bind = \"127.0.0.2:1883\"");
    good("listeners.tcp.a.bind = \"0.0.0.0:1883\"\nlisteners.tcp.b.bind = \"[::1]:1883\"");
}

#[test]
fn a_missing_variable_is_told_with_two_ways_out() {
    says_beside_a_listener(
        "node.name = ${nothere}",
        "etc/postern.conf:2:13: node.name: `${nothere}` is defined neither in the configuration nor in the \
         environment; write `${?nothere}` if it may be absent, or \"${nothere}\" in quotes if it is a placeholder",
    );
    says_beside_a_listener(
        "node.data_dir = \"${POSTERN_DATA_DIR}/x\"",
        "etc/postern.conf:2:17: node.data_dir: the environment variable `POSTERN_DATA_DIR` is not set; set it, or write the path out",
    );
}

#[test]
fn faults_of_the_text_are_told_by_place() {
    says("listeners {\n  tcp.a {\n    bind = 1883\n  }\n", "etc/postern.conf:1:11: this `{` is never closed");
    says("node.name : \n}", "etc/postern.conf:2:1: this `}` closes nothing");
}

#[test]
fn all_faults_come_at_once_in_the_order_of_their_places() {
    let text = "node.nam = x\nmqtt.max_inflight = 0\nlisteners.tcp.a.bind = x\nlisteners.ssl.b { bind = 1 }";
    let places: Vec<String> = bad(text).iter().map(|problem| problem.at.to_string()).collect();
    assert_eq!(
        places,
        ["etc/postern.conf:1:1", "etc/postern.conf:2:21", "etc/postern.conf:3:24", "etc/postern.conf:4:1"]
    );
}

#[test]
fn a_fault_in_an_included_file_is_told_with_that_file() {
    let problems =
        load_with("include \"more.conf\"\nlisteners.tcp.a.bind = 0", &[], &[("etc/more.conf", "\nnode.nam = x")]);
    assert_eq!(
        lines(&problems.expect_err("a misspelt key")),
        "etc/more.conf:2:1: node.nam: unknown key; did you mean `name`?\n"
    );
}

#[test]
fn secrets_are_in_no_message_and_no_debug_text() {
    let text = "listeners.ssl.a { bind = 1, ssl_options { certfile = \"-----BEGIN X-----s3cret\", keyfile = \"-----BEGIN PRIVATE KEY-----s3cret\", password = s3cret } }";
    let loaded = good(text);
    assert!(!format!("{:?}", loaded.config).contains("s3cret"));
    let text = "listeners.ssl.a { bind = 1, ssl_options { certfile = { a = s3cret }, keyfile = [s3cret], password = [s3cret] } }";
    let problems = bad(text);
    assert_eq!(problems.len(), 3, "{}", lines(&problems));
    assert!(!lines(&problems).contains("s3cret"));
    let plugin = good(
        "listeners.ssl.a { bind = 1, ssl_options.managed_certs { bundle_name = x }, plugins = [{ path = x, config { token = s3cret } }] }",
    );
    assert!(!format!("{:?}", plugin.config).contains("s3cret"));
}
