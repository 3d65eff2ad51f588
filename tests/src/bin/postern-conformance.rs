//! Plays all scenarios with all libraries over all transports and versions: `cargo xtask conformance`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use postern_tests::alive::assert_alive;
use postern_tests::clients::matrix::{LIBRARIES, Library, Transport, Version};
use postern_tests::clients::scenarios::{ALL, Scenario};
use postern_tests::clients::site::Site;
use postern_tests::clients::stage::{End, Played, Stage};
use postern_tests::clients::suite::{self, Suite};

#[derive(Parser)]
struct Arguments {
    /// Play this library alone.
    #[arg(long)]
    client: Option<String>,
    /// Play the scenarios alone that have this in their name.
    #[arg(long)]
    scenario: Option<String>,
    /// Where the logs go.
    #[arg(long)]
    logs: PathBuf,
    /// How many are played at the same time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// The unpacked source package of paho-mqtt; its own tests are run too.
    #[arg(long)]
    paho: Option<PathBuf>,
}

/// One library over one transport by one version.
#[derive(Clone, Copy)]
struct Cell {
    library: Library,
    version: Version,
    transport: Transport,
}

/// What became of one scenario.
struct Outcome {
    cell: Cell,
    scenario: &'static str,
    played: Played,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Logs of earlier runs would be taken for this one's.
    let _ = std::fs::remove_dir_all(&arguments.logs);
    std::fs::create_dir_all(&arguments.logs).unwrap();
    let libraries: Vec<Library> = LIBRARIES
        .into_iter()
        .filter(|library| arguments.client.as_ref().is_none_or(|name| name == library.name))
        .collect();
    let scenarios: Vec<Scenario> = ALL
        .into_iter()
        .filter(|scenario| arguments.scenario.as_ref().is_none_or(|part| scenario.name.contains(part)))
        .collect();
    if libraries.is_empty() || scenarios.is_empty() {
        let names = LIBRARIES.map(|library| library.name).join(", ");
        eprintln!("error: there is no such client or scenario; clients are {names}");
        return ExitCode::FAILURE;
    }
    let began = Instant::now();
    let site = Site::start();
    let (outcomes, own_tests) = std::thread::scope(|scope| {
        let own_tests = arguments.paho.as_deref().map(|sources| {
            let log = arguments.logs.join("paho-suite.log");
            scope.spawn(move || suite::paho(sources, &log))
        });
        let outcomes = play(&site, &libraries, &scenarios, &arguments);
        (outcomes, own_tests.map(|running| running.join().unwrap()))
    });
    assert_alive(&site.broker);
    let broker_log = arguments.logs.join("broker.log");
    std::fs::write(&broker_log, site.broker.journal.text()).unwrap();
    print!("{}", report(&libraries, &outcomes));
    print!("{}", own_tests.as_ref().map(told).unwrap_or_default());
    let failures = outcomes.iter().filter(|outcome| matches!(outcome.played, Err(End::Failed(_)))).count();
    let passed = outcomes.iter().filter(|outcome| outcome.played.is_ok()).count();
    println!(
        "\n{passed} passed, {failures} failed, {} not spoken, in {:.0} s; logs: {}",
        outcomes.len() - passed - failures,
        began.elapsed().as_secs_f32(),
        arguments.logs.display()
    );
    let suite_failed = own_tests.is_some_and(|suite| !suite.failed.is_empty());
    if failures == 0 && !suite_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(suite: &Suite) -> String {
    let Suite { passed, different, failed } = suite;
    let mut text = format!(
        "\npaho-mqtt's own tests of MQTT 5.0: {passed} passed, {} failed, {} want what is meant another way here\n",
        failed.len(),
        different.len()
    );
    for line in failed.iter().map(|line| format!("FAILED {line}")).chain(different.iter().cloned()) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Plays every cell, some at the same time.
fn play(site: &Site, libraries: &[Library], scenarios: &[Scenario], arguments: &Arguments) -> Vec<Outcome> {
    let mut cells = VecDeque::new();
    for &library in libraries {
        for &version in library.versions {
            cells.extend(library.transports.iter().map(|&transport| Cell { library, version, transport }));
        }
    }
    let cells = Mutex::new(cells);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(cell) = cells.lock().unwrap().pop_front() else { return };
                    let played = play_cell(site, cell, scenarios, &arguments.logs);
                    let failed = played.iter().filter(|outcome| matches!(outcome.played, Err(End::Failed(_)))).count();
                    let Cell { library, version, transport } = cell;
                    eprintln!("  {} {version} over {}: {failed} failed", library.name, transport.name());
                    outcomes.lock().unwrap().extend(played);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn play_cell(site: &Site, cell: Cell, scenarios: &[Scenario], logs: &Path) -> Vec<Outcome> {
    let Cell { library, version, transport } = cell;
    let log = log_of(logs, cell);
    let start = || Stage::start(&library.program(), version, site.at(transport, version), &log);
    let mut stage = start();
    let mut outcomes = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| scenario.since <= version) {
        let played = stage.play(scenario.name, scenario.play);
        if matches!(played, Err(End::Failed(_))) {
            // What a failure leaves behind is not the next one's.
            stage = start();
        }
        outcomes.push(Outcome { cell, scenario: scenario.name, played });
    }
    outcomes
}

fn log_of(logs: &Path, cell: Cell) -> PathBuf {
    logs.join(format!("{}-{}-{}.log", cell.library.name, cell.version, cell.transport.name()))
}

/// The table, then what is not spoken, then what failed.
fn report(libraries: &[Library], outcomes: &[Outcome]) -> String {
    let mut text = format!("\n{:<10}  {:<7}", "client", "version");
    for transport in Transport::ALL {
        let _ = write!(text, "  {:<10}", transport.name());
    }
    text.push('\n');
    for library in libraries {
        for version in Version::ALL {
            let _ = write!(text, "{:<10}  {version:<7}", library.name);
            for transport in Transport::ALL {
                let _ = write!(text, "  {:<10}", cell_text(outcomes, library, version, transport));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text.push_str("\n+N passed, ~N not spoken by this client, !N FAILED, - the client does not speak it at all\n");
    text.push_str(&unspoken(libraries, outcomes));
    text.push_str(&failures(outcomes));
    text
}

fn cell_text(outcomes: &[Outcome], library: &Library, version: Version, transport: Transport) -> String {
    let (mut passed, mut unspoken, mut failed) = (0, 0, 0);
    for outcome in outcomes {
        let cell = &outcome.cell;
        if cell.library.name == library.name && cell.version == version && cell.transport == transport {
            match &outcome.played {
                Ok(()) => passed += 1,
                Err(End::Unspoken(_)) => unspoken += 1,
                Err(End::Failed(_)) => failed += 1,
            }
        }
    }
    let parts = [("+", passed), ("~", unspoken), ("!", failed)];
    let parts: Vec<String> =
        parts.iter().filter(|(_, count)| *count > 0).map(|(mark, count)| format!("{mark}{count}")).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

fn unspoken(libraries: &[Library], outcomes: &[Outcome]) -> String {
    let mut why: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for outcome in outcomes {
        if let Err(End::Unspoken(reason)) = &outcome.played {
            let versions = why.entry((outcome.cell.library.name, outcome.scenario, reason)).or_default();
            let version = outcome.cell.version.to_string();
            if !versions.contains(&version) {
                versions.push(version);
                versions.sort_unstable();
            }
        }
    }
    let lacks = libraries.iter().filter(|library| !library.lacks.is_empty());
    let mut text = lacks.fold(String::new(), |text, library| text + "  " + library.lacks + "\n");
    for ((library, scenario, reason), versions) in why {
        let _ = writeln!(text, "  {library} {}: {scenario}: {reason}", versions.join(", "));
    }
    if text.is_empty() { text } else { format!("\nnot spoken\n{text}") }
}

fn failures(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        if let Err(End::Failed(why)) = &outcome.played {
            let Cell { library, version, transport } = outcome.cell;
            let _ =
                writeln!(text, "  {} {version} over {}: {}: {why}", library.name, transport.name(), outcome.scenario);
        }
    }
    if text.is_empty() { text } else { format!("\nFAILED\n{text}") }
}
