//! The tests that come with a library, run against a broker of their own.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::matrix::python;
use crate::alive::assert_alive;
use crate::broker::Setup;

/// Their topic that nobody may subscribe to.
const CONFIG: &str = "authorization { no_match = allow, rules = [\
    { permission = deny, action = subscribe, topics = [\"test/nosubscribe\"] }] }";

/// What is meant to be another way here, and why.
const DIFFERENT: [(&str, &str); 1] =
    [("test_subscribe_failure", "a subscription that is not allowed has the reason 0x87 Not authorized, not 0x80")];

/// What became of a suite.
#[derive(Debug, Default)]
pub struct Suite {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that want something else than is meant here, each with why.
    pub different: Vec<String>,
    /// The rest, each with what it says.
    pub failed: Vec<String>,
}

/// Runs the MQTT 5.0 tests of paho-mqtt, whose unpacked source package is at `sources`. What its clients said goes to
/// `log`.
///
/// # Panics
/// Where the broker cannot be started, or does not live on.
pub fn paho(sources: &Path, log: &Path) -> Suite {
    let broker = Setup::new(CONFIG).start();
    let program = python("paho_suite.py");
    let output = Command::new(&program.words[0])
        .args(&program.words[1..])
        .arg(sources)
        .arg(broker.control().port().to_string())
        .stdin(Stdio::null())
        .stderr(File::create(log).unwrap())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.words[0]));
    let mut suite = Suite::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let word = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        let test = word("test");
        let different = DIFFERENT.iter().find(|(name, _)| *name == test);
        match (word("outcome").as_str(), different) {
            ("passed", _) => suite.passed += 1,
            ("failed", Some((_, why))) => suite.different.push(format!("{test}: {why}")),
            (outcome, _) => suite.failed.push(format!("{test}: {outcome}: {}", word("why"))),
        }
    }
    if suite.passed == 0 {
        suite.failed.push(format!("no test passed; {} says why", log.display()));
    }
    assert_alive(&broker);
    suite
}
