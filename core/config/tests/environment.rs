//! Overrides from the environment.

mod support;

use support::{lines, load_with};

const TEXT: &str = "node.name = file\nlisteners.tcp.a.bind = 1883\n\
                    listeners.ssl.default { bind = 8883, ssl_options { certfile = a, keyfile = b, password = x } }";

#[test]
fn a_variable_beats_the_file() {
    let env = [
        ("POSTERN_NODE__NAME", "env"),
        ("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "127.0.0.1:8884"),
        ("POSTERN_LISTENERS__TCP__A__BIND", "[::1]:1"),
        ("POSTERN_LISTENERS__TCP__A__ENABLE", "false"),
        ("POSTERN_MQTT__SESSION_EXPIRY_INTERVAL", "1h"),
        ("POSTERN_LISTENERS__SSL__DEFAULT__PLUGINS", "[{ path = p.wasm, config { a = [1] } }]"),
        ("PATH", "/bin"),
    ];
    let config = load_with(TEXT, &env, &[]).unwrap_or_else(|p| panic!("{}", lines(&p))).config;
    assert_eq!(config.node.name, "env");
    assert_eq!(config.listeners[0].bind.value.to_string(), "[::1]:1");
    assert!(!config.listeners[0].enable);
    assert_eq!(config.listeners[1].bind.value.to_string(), "127.0.0.1:8884");
    assert_eq!(config.listeners[1].bind.at.to_string(), "environment POSTERN_LISTENERS__SSL__DEFAULT__BIND");
    assert_eq!(config.mqtt.session_expiry_interval.as_secs(), 3600);
    let plugin = &config.listeners[1].plugins.as_ref().unwrap()[0].value;
    assert_eq!(plugin.config, serde_json::json!({"a": [1]}));
}

#[test]
fn a_value_is_taken_whole_whatever_signs_are_in_it() {
    use postern_config::{CertFiles, CertSource, PasswordSource};
    for (value, expect) in [
        ("pa#ss//wo=rd", "pa#ss//wo=rd"),
        ("${HOME}", "${HOME}"),
        ("\"quoted\"", "quoted"),
        ("\"half", "\"half"),
        ("[half", "[half"),
        ("{a = 1}\nb = 2", "{a = 1}\nb = 2"),
        ("007", "007"),
    ] {
        let env = [("POSTERN_LISTENERS__SSL__DEFAULT__SSL_OPTIONS__PASSWORD", value)];
        let config = load_with(TEXT, &env, &[]).unwrap_or_else(|p| panic!("{}", lines(&p))).config;
        let CertSource::Files { files: CertFiles { password: Some(password), .. }, .. } =
            &config.listeners[1].tls.as_ref().unwrap().source
        else {
            panic!("{value}")
        };
        let PasswordSource::Inline(password) = &password.value else { panic!("{value}") };
        assert_eq!(password.expose(), expect);
    }
}

#[test]
fn a_wrong_value_is_told_with_the_variable() {
    let env = [("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "nowhere")];
    let said = lines(&load_with(TEXT, &env, &[]).expect_err("no address"));
    assert!(said.starts_with(
        "environment POSTERN_LISTENERS__SSL__DEFAULT__BIND: listeners.ssl.default.bind: `nowhere` is no address to listen on"
    ), "{said}");
}

#[test]
fn an_unknown_name_is_a_warning_with_the_right_one() {
    let env = [
        ("POSTERN_NODE__NAM", "x"),
        ("POSTERN_NOD__NAME", "x"),
        ("POSTERN_LISTENERS__SSL__DEFAULT__SSL_OPTIONS__CERTFIL", "x"),
        ("POSTERN_LISTENERS__SLL__DEFAULT__BIND", "1"),
        ("POSTERN_NODE____NAME", "x"),
        ("POSTERN_ETC_DIR", "/etc"),
        ("POSTERN", "x"),
    ];
    let loaded = load_with(TEXT, &env, &[]).unwrap_or_else(|p| panic!("{}", lines(&p)));
    assert_eq!(loaded.config.node.name, "file");
    let said = lines(&loaded.warnings);
    for expect in [
        "environment POSTERN_NODE__NAM: node.nam: there is no such key; the variable is ignored; did you mean `POSTERN_NODE__NAME`?\n",
        "environment POSTERN_NOD__NAME: nod: there is no such key; the variable is ignored; did you mean `POSTERN_NODE__NAME`?\n",
        "did you mean `POSTERN_LISTENERS__SSL__DEFAULT__BIND`?\n",
        "did you mean `POSTERN_LISTENERS__SSL__DEFAULT__SSL_OPTIONS__CERTFILE`?\n",
        "environment POSTERN_NODE____NAME: the name has an empty part, and is ignored; parts of a path are joined by `__`\n",
    ] {
        assert!(said.contains(expect), "{expect}\n{said}");
    }
    assert!(!said.contains("ETC_DIR"), "{said}");
}

#[test]
fn a_listener_may_be_made_of_variables_alone() {
    let env = [("POSTERN_LISTENERS__TCP__EXTRA__BIND", "1")];
    let config = load_with("", &env, &[]).unwrap_or_else(|p| panic!("{}", lines(&p))).config;
    assert_eq!(config.listeners[0].id.as_str(), "tcp:extra");
}
