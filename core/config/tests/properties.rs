//! A configuration that is written out and read again is the same; any text ends soon, with a configuration or with
//! problems that have places.

mod support;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use support::{lines, load_text};

#[derive(Debug, Clone)]
struct Written {
    name: String,
    bind: u16,
    enable: bool,
    max_connections: Option<u32>,
    mountpoint: String,
    timeout_ms: u64,
    namespaces: Vec<String>,
    config: serde_json::Value,
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::from("a \"quoted\"\n\\ ${x} # // text")),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("\\PC{0,8}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("\\PC{0,8}", tree, 0..4)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

fn written() -> impl Strategy<Value = Written> {
    (
        "[a-zA-Z0-9_-]{1,12}",
        any::<u16>(),
        any::<bool>(),
        prop::option::of(1..u32::MAX),
        "[a-z/]{0,8}(\\$\\{(clientid|username|namespace)\\}/)?",
        1u64..60_000,
        prop::collection::btree_set("[a-z0-9][a-z0-9.-]{0,8}", 0..4),
        json(),
    )
        .prop_map(|(name, bind, enable, max_connections, mountpoint, timeout_ms, namespaces, config)| Written {
            name,
            bind,
            enable,
            max_connections,
            mountpoint,
            timeout_ms,
            namespaces: namespaces.into_iter().collect(),
            config,
        })
}

/// One of several ways to write the same.
fn rendered(w: &Written, style: u8) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let fields = [
        format!("bind = {}", w.bind),
        format!("enable = {}", w.enable),
        format!("max_connections = {}", w.max_connections.map_or("infinity".to_owned(), |n| n.to_string())),
        "ssl_options.managed_certs { bundle_name = x }".to_owned(),
        format!("mountpoint = {}", quoted(&w.mountpoint)),
        format!("namespaces = {}", serde_json::Value::from(w.namespaces.clone())),
        format!("plugins = [{{ path = p, timeout = {}ms, config = {} }}]", w.timeout_ms, w.config),
    ];
    let prefix = format!("listeners.ssl.{}", quoted(&w.name));
    match style % 3 {
        0 => format!("{prefix} {{ {} }}", fields.join(", ")),
        1 => fields.iter().map(|field| format!("{prefix}.{field} # note\n")).collect::<Vec<_>>().concat(),
        _ => format!("listeners {{\n  ssl {{\n {} : {{\n{}\n}}\n}}\n}}\n", quoted(&w.name), fields.join("\r\n")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_what_is_read(w in written(), style in 0u8..3) {
        let text = rendered(&w, style);
        let loaded = load_text(&text).map_err(|p| TestCaseError::fail(format!("{}{text}", lines(&p))))?;
        let listener = &loaded.config.listeners[0];
        prop_assert_eq!(&listener.name, &w.name);
        prop_assert_eq!(listener.bind.value.port(), w.bind);
        prop_assert_eq!(listener.enable, w.enable);
        prop_assert_eq!(listener.max_connections, w.max_connections.map(|n| n as usize));
        prop_assert_eq!(&listener.mountpoint, &w.mountpoint);
        let namespaces: Vec<String> = listener.namespaces.iter().map(ToString::to_string).collect();
        prop_assert_eq!(namespaces, w.namespaces);
        let plugin = &listener.plugins.as_ref().unwrap()[0].value;
        prop_assert_eq!(plugin.timeout, Some(Duration::from_millis(w.timeout_ms)));
        prop_assert_eq!(&plugin.config, &w.config);
    }

    #[test]
    fn any_text_gives_a_configuration_or_problems_with_places(
        text in "\\PC{0,200}",
        at in 0usize..2000,
        cut in 0usize..2000,
    ) {
        let start = Instant::now();
        let mut fixture: Vec<char> = include_str!("fixtures/listeners.conf").chars().collect();
        let (at, cut) = (at.min(fixture.len()), cut.min(fixture.len()));
        fixture.splice(at.min(cut)..at.max(cut), text.chars());
        for text in [text, fixture.into_iter().collect()] {
            if let Err(problems) = load_text(&text) {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.to_string().starts_with("etc/postern.conf:"), "{}", problem);
                }
            }
        }
        prop_assert!(start.elapsed() < Duration::from_secs(10));
    }
}
