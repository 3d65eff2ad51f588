//! J: plugins that misbehave. One guest does as its configuration tells it, by hook and by the name that
//! the client asks for; none of what it does opens the gate, or hurts a handshake that it has no part in.

use std::time::{Duration, Instant};

use postern_tests::alive::{assert_alive, unique};
use postern_tests::broker::{Broker, Setup, plugin};
use postern_tests::hello::{self, Answer};
use postern_tests::journal::Line;
use postern_tests::shared::Shared;
use postern_tests::tls::{self, Entry};
use postern_tests::wire::{Connect, V5};

use crate::fixture::{Certificates, MANAGED, REQUIRED};

/// internal_error: what a client learns of a plugin's failure.
const FAILED: Answer = Answer::Alert(80);
/// Longest call in these cases.
const TIMEOUT: Duration = Duration::from_millis(200);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(3);

/// The guest's misdeeds, each under a name that a client can ask for.
const DEEDS: &[(&str, &str)] = &[
    ("spin", "do = spin"),
    ("copy", "do = copy-memory"),
    ("recurse", "do = recurse, depth = 100000000"),
    ("grow", "do = grow-memory"),
    ("allocate", "do = allocate, bytes = 1000000000"),
    ("long", "do = long-text, bytes = 100000000"),
    ("lengthy", "do = long-text, bytes = 1000000"),
    ("log", "do = log, times = 1000000, text = \"j04 \\u001b[31mred\\n{\\\"message\\\":\\\"admitted\\\"}\""),
    ("log-long", "do = log-long, bytes = 10000000"),
    ("calls", "do = host-calls, times = 1000000"),
    ("panic", "do = panic, text = \"j08 panics\""),
    ("transient", "do = transient, text = \"j08 transient\""),
    ("unknown", "do = use, name = nowhere"),
    ("others", "do = use, namespace = globex, name = mqtt"),
    ("up", "do = use, name = \"../default\""),
    ("empty", "do = use, name = \"\""),
    ("nul", "do = use, name = \"default\\u0000\""),
    ("unattached", "do = use, name = unattached"),
];

fn deeds() -> String {
    let deed = |(name, what): &(&str, &str)| format!("\"{name}.example\" {{ {what} }}");
    let long = format!("\"name-300.example\" {{ do = use, name = \"{}\" }}", "a".repeat(300));
    DEEDS.iter().map(deed).chain([long]).collect::<Vec<_>>().join("\n")
}

/// A listener whose only plugin is the hostile one.
fn listener(name: &str, options: &str, entry: &str, config: &str) -> String {
    format!(
        "listeners.ssl.{name} {{ bind = \"127.0.0.1:0\", max_unauthenticated_per_address = 100000\n\
         ssl_options {{ {MANAGED}\n {options} }}\n\
         plugins = [{{ path = \"{}\", timeout = {}ms, {entry}, config {{ {config} }} }}] }}\n",
        plugin("hostile").display(),
        TIMEOUT.as_millis(),
    )
}

struct Hostile {
    broker: Broker,
    certificates: Certificates,
}

static HOSTILE: Shared<Hostile> = Shared::new(Hostile::start);

impl Hostile {
    fn start() -> Self {
        let certificates = Certificates::make();
        let deeds = deeds();
        let by_name = |hook: &str| format!("{hook} {{ do = pass, names {{\n{deeds}\n}} }}");
        let identity = "identity { do = pass, names {\n\
             \"localhost\" { do = allow, username = honest }\n\
             \"panic.example\" { do = panic-with-subject }\n\
             \"fail.example\" { do = fail-with-subject }\n\
             \"spin.example\" { do = spin }\n\
             \"control.example\" { do = allow, username = \"ad\\nmin\" }\n\
             \"long.example\" { do = allow, username = \"LONG\" }\n\
             \"many.example\" { do = allow, username = honest, attributes = 1000 }\n } }"
            .replace("LONG", &"a".repeat(300));
        let remember = "certificate { do = remember }";
        let acme = "namespace { do = found, name = acme }";
        let listeners = [
            listener("deny", "verify = verify_none", "on_error = deny", &by_name("certificate")),
            listener("lenient", "verify = verify_none", "on_error = default-bundle", &by_name("certificate")),
            listener("namespace", "verify = verify_none", "on_error = default-bundle", &by_name("namespace")),
            listener("acme", "verify = verify_none", "on_error = deny", &format!("{acme}, {}", by_name("certificate"))),
            listener("identity", REQUIRED, "on_error = default-bundle", &identity),
            listener("warm", "verify = verify_none", "isolation = warm", remember),
            listener("pristine", "verify = verify_none", "isolation = per-call", remember),
            listener("stranger", "verify = verify_none", "on_error = deny", "namespace { do = found, name = initech }"),
        ];
        let setup = Setup::new(&listeners.concat());
        certificates.write(&setup);
        // On disk, and in no listener's list.
        certificates.default.write_bundle(setup.dir.path(), "global", "unattached", None);
        Self { broker: setup.start(), certificates }
    }

    fn ask(&self, listener: &str, name: &str) -> Answer {
        hello::naming(name).ask(self.broker.address(&format!("ssl:{listener}")))
    }

    /// The deed fails for one of these reasons: the strict listener refuses, the lenient one serves its default, and
    /// either soon.
    fn fails(&self, deed: &str, whys: &[&str]) {
        let name = format!("{deed}.example");
        let mark = self.broker.journal.mark();
        let began = Instant::now();
        assert_eq!(self.ask("deny", &name), FAILED, "{deed}");
        assert_eq!(self.ask("lenient", &name), self.default(), "{deed}");
        let took = began.elapsed();
        assert!(took < 2 * TIMEOUT + SLACK, "{deed} took {took:?}");
        let refused = |line: &Line| {
            line.says("refused") && line.text("server_name") == name && line.text("listener") == "ssl:deny"
        };
        let told = self.broker.journal.expect(mark, deed, refused);
        let detail = told.text("detail");
        assert!(whys.iter().any(|why| detail.contains(why)), "{deed}: {told:?}");
        assert_eq!((told.text("at"), told.text("by")), ("certificate".into(), "hostile".into()), "{told:?}");
    }

    fn default(&self) -> Answer {
        Answer::Served(self.certificates.default.leaf().to_vec())
    }

    /// Enters with a certificate of Acme's through the listener whose plugin decides identities.
    fn identify(&self, name: &str) -> (Entry, Line) {
        let offer = tls::naming(name).showing(&self.certificates.acme_ca.device("j-device"));
        let mark = self.broker.journal.mark();
        let (own, entry) = offer.enter_from(self.broker.address("ssl:identity"), &Connect::new(V5, unique("j")));
        let own = own.to_string();
        let told = self
            .broker
            .journal
            .expect(mark, &own, |line| (line.says("admitted") || line.says("refused")) && line.text("peer") == own);
        (entry, told)
    }

    fn assert_alive(&self) {
        assert_alive(&self.broker);
    }
}

#[test]
fn j_01_loops_are_ended_at_the_deadline_and_hold_nobody_up() {
    const HONEST_WITHIN: Duration = Duration::from_secs(3);
    let hostile = HOSTILE.get();
    std::thread::scope(|scope| {
        let looping = scope.spawn(|| {
            // Which of the two clocks runs out first is the machine's business.
            let out_of_time = &["processor time", "did not answer within"][..];
            for (deed, why) in [
                ("spin", out_of_time),
                ("copy", out_of_time),
                ("recurse", &["trap", "did not answer within"][..]),
                ("spin", out_of_time),
            ] {
                hostile.fails(deed, why);
            }
        });
        let mut worst = Duration::ZERO;
        while !looping.is_finished() {
            let began = Instant::now();
            assert_eq!(hostile.ask("deny", "localhost"), hostile.default());
            worst = worst.max(began.elapsed());
            // A listener's log takes so many refusals a second, and the loops' must be among them.
            std::thread::sleep(Duration::from_millis(30));
        }
        looping.join().unwrap();
        println!("slowest honest handshake beside loops: {worst:?}");
        assert!(worst < HONEST_WITHIN, "{worst:?}");
    });
    hostile.assert_alive();
}

#[test]
fn j_02_memory_beyond_the_limit_is_refused() {
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let hostile = Hostile::start();
    // Each kind of call once, so that what a first call costs is not counted.
    hostile.fails("transient", &["j08 transient"]);
    let before = hostile.broker.resident_bytes();
    for _ in 0..5 {
        hostile.fails("grow", &["pages, then refused"]);
        hostile.fails("allocate", &["trap"]);
    }
    let grown = hostile.broker.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    hostile.assert_alive();
}

#[test]
fn j_02_a_component_born_too_big_is_refused_at_the_start() {
    let certificates = Certificates::make();
    let of = |name: &str| {
        let setup = Setup::new(&format!(
            "listeners.ssl.big {{ bind = \"127.0.0.1:0\", ssl_options {{ {MANAGED}\n }}\n plugins = [\"{}\"] }}",
            plugin(name).display()
        ));
        certificates.write(&setup);
        setup.check()
    };
    let checked = of("too-big");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.text.contains("plugins[0]") && checked.text.contains("memory"), "{checked:?}");
    assert_eq!(of("sni-selector").code, Some(0));
}

#[test]
fn j_03_answers_beyond_all_size_are_refused() {
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let hostile = Hostile::start();
    hostile.fails("transient", &["j08 transient"]);
    let before = hostile.broker.resident_bytes();
    for _ in 0..5 {
        hostile.fails("long", &["trap"]);
        hostile.fails("lengthy", &["too much data"]);
    }
    let grown = hostile.broker.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
    let longest = hostile.broker.journal.lines().into_iter().map(|line| line.raw.len()).max().unwrap();
    assert!(longest < 4_096, "a log line of {longest} bytes");
    hostile.assert_alive();
}

#[test]
fn j_04_a_flood_of_log_lines_is_cut_and_escaped() {
    let hostile = HOSTILE.get();
    let mark = hostile.broker.journal.mark();
    hostile.fails("log", &["called the host more than"]);
    hostile.fails("log-long", &["too much data"]);
    hostile.assert_alive();
    let lines = hostile.broker.journal.since(mark);
    let own = lines.iter().filter(|line| line.raw.contains("j04 ")).collect::<Vec<_>>();
    // Two calls, at most eight lines each.
    assert!(!own.is_empty() && own.len() <= 16, "{} lines: {own:?}", own.len());
    for line in &lines {
        assert!(line.fields.is_object(), "not one JSON object: {line:?}");
        assert!(!line.raw.contains(char::is_control), "{line:?}");
        assert!(line.raw.len() < 4_096, "a line of {} bytes", line.raw.len());
    }
    assert!(own.iter().all(|line| !line.says("admitted")));
    let long = lines.iter().filter(|line| line.raw.contains(&"x".repeat(100))).collect::<Vec<_>>();
    assert!(long.iter().all(|line| line.raw.matches('x').count() <= 512), "{long:?}");
}

#[test]
fn j_05_host_calls_stop_at_their_quota() {
    let hostile = HOSTILE.get();
    hostile.fails("calls", &["called the host more than"]);
    hostile.assert_alive();
}

/// A component that imports one instance by this name, and nothing else (component-model binary format).
fn importing(name: &str) -> Vec<u8> {
    let types = [1, 0x42, 0];
    let mut imports = vec![1, 0, u8::try_from(name.len()).unwrap()];
    imports.extend(name.as_bytes());
    imports.extend([5, 0]);
    let section = |id: u8, content: &[u8]| [&[id, u8::try_from(content.len()).unwrap()][..], content].concat();
    [&b"\0asm\x0d\0\x01\0"[..], &section(7, &types), &section(10, &imports)].concat()
}

#[test]
fn j_06_a_component_that_imports_what_is_not_granted_is_refused_by_name() {
    let certificates = Certificates::make();
    for import in
        ["wasi:filesystem/types@0.2.0", "wasi:sockets/tcp@0.2.0", "wasi:clocks/wall-clock@0.2.0", "acme:keys/all"]
    {
        let setup = Setup::new(&format!(
            "listeners.ssl.i {{ bind = \"127.0.0.1:0\", ssl_options {{ {MANAGED}\n }}\n plugins = [\"odd.wasm\"] }}"
        ));
        certificates.write(&setup);
        setup.file("odd.wasm", importing(import));
        let checked = setup.check();
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.text.contains(import), "{checked:?}");
    }
}

#[test]
fn j_07_bundles_that_are_not_to_be_had_are_failures_alike() {
    let hostile = HOSTILE.get();
    // In the same words, so that the log of one tenant tells nothing of another.
    for deed in ["unknown", "others", "up", "empty", "nul", "name-300", "unattached"] {
        hostile.fails(deed, &["its answer cannot be: no such bundle in the connection's reach"]);
    }
    // From inside a tenant: another one's bundle is as unknown as one that does not exist.
    for deed in ["others", "unknown"] {
        assert_eq!(hostile.ask("acme", &format!("{deed}.example")), FAILED, "{deed}");
    }
    hostile.assert_alive();
}

#[test]
fn j_07_a_namespace_that_is_not_attached_is_a_failure() {
    let hostile = HOSTILE.get();
    assert_eq!(hostile.ask("stranger", "localhost"), FAILED);
    hostile.assert_alive();
}

#[test]
fn j_08_a_trap_in_any_hook_keeps_the_gate_shut() {
    let hostile = HOSTILE.get();
    hostile.fails("panic", &["trap"]);
    hostile.fails("transient", &["j08 transient"]);
    // `default-bundle` speaks of certificates alone: a namespace that cannot be told opens nothing.
    for deed in ["panic", "spin", "transient"] {
        assert_eq!(hostile.ask("namespace", &format!("{deed}.example")), FAILED, "{deed}");
    }
    for deed in ["panic", "fail", "spin", "control", "long"] {
        let (entry, told) = hostile.identify(&format!("{deed}.example"));
        assert!(matches!(entry, Entry::Connack(0x87)), "{deed}: {entry:?}");
        assert_eq!(
            (told.text("at"), told.text("why")),
            ("identity".into(), "plugin_failed".into()),
            "{deed}: {told:?}"
        );
        assert_eq!(told.text("by"), "hostile", "{told:?}");
        // What the guest says is cut at 256 bytes; what it panicked with is not taken at all.
        assert!(told.text("detail").len() < 400, "{told:?}");
        assert!(deed == "fail" || !told.text("detail").contains("j-device"), "{told:?}");
    }
    // All pass: nobody said who it is.
    let (entry, told) = hostile.identify("nobody.example");
    assert!(matches!(entry, Entry::Connack(0x87)), "{entry:?}");
    assert_eq!(told.text("at"), "identity", "{told:?}");
    let (entry, told) = hostile.identify("localhost");
    entry.admitted().leave();
    assert_eq!((told.text("username"), told.text("identity_by")), ("honest".into(), "hostile".into()), "{told:?}");
    hostile.assert_alive();
}

#[test]
fn j_12_an_instance_for_each_call_remembers_nothing() {
    let hostile = HOSTILE.get();
    let told = |listener: &str| {
        let mark = hostile.broker.journal.mark();
        let id = format!("ssl:{listener}");
        (0..6)
            .map(|n| {
                assert!(matches!(hostile.ask(listener, &format!("tenant-{n}.example")), Answer::Alert(_)));
                let mut seen = 0;
                let nth = |line: &Line| {
                    seen += usize::from(line.says("refused") && line.text("listener") == id);
                    seen > n
                };
                hostile.broker.journal.expect(mark, "the refusal", nth).text("detail")
            })
            .collect::<Vec<_>>()
    };
    for detail in told("pristine") {
        assert!(detail.contains("nothing") && !detail.contains("tenant-"), "{detail}");
    }
    // The same guest with warm instances: the case above can fail.
    let warm = told("warm");
    assert!(warm.iter().any(|detail| detail.contains("tenant-")), "{warm:?}");
    hostile.assert_alive();
}
