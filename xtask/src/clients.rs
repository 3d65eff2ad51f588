//! `cargo xtask conformance`: the clients that people use, against every transport and every version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::progress::Step;
use crate::test::prerequisites;
use crate::{debian, repository};

/// Where the programs lie that play the clients, with what npm and cargo are to install.
const PROGRAMS: &str = "tests/clients";

/// What to play; everything where nothing is said.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Play one client alone: paho-mqtt, mqtt.js, rumqttc or mosquitto.
    #[arg(long)]
    client: Option<String>,
    /// Play the scenarios alone that have this in their name.
    #[arg(long)]
    scenario: Option<String>,
    /// How many combinations of client, transport and version are played at the same time.
    #[arg(long)]
    jobs: Option<usize>,
}

/// Installs the clients beside cargo's builds, builds the broker, and plays.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = repository::build_directory()?;
    let found = prerequisites::ensure()?;
    let modules = node_modules(&target.join("clients/npm"))?;
    succeed(repository::cargo().args(["build", "--workspace", "--all-targets"]))?;
    // Kept apart from the broker's builds: its packages would be built with other features there.
    let manifest = format!("{PROGRAMS}/rumqttc/Cargo.toml");
    let build = ["build", "--locked", "--manifest-path", &manifest, "--target-dir"];
    succeed(repository::cargo().args(build).arg(target.join("clients")))?;

    let mut play = Command::new(target.join("debug/postern-conformance"));
    play.arg("--logs").arg(target.join("conformance"));
    play.env("POSTERN_TEST_NODE_MODULES", modules);
    if let Some(python) = found.python {
        if arguments.scenario.is_none() && arguments.client.as_ref().is_none_or(|name| name == "paho-mqtt") {
            play.arg("--paho").arg(paho_sources(&python, &target.join("clients"))?);
        }
        play.env("POSTERN_TEST_PYTHON", python);
    }
    for (flag, value) in [
        ("--client", arguments.client.clone()),
        ("--scenario", arguments.scenario.clone()),
        ("--jobs", arguments.jobs.map(|jobs| jobs.to_string())),
    ] {
        play.args(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    let status = play.status().map_err(|error| Failure::new("the scenarios cannot be played").because(error))?;
    if status.success() { Ok(()) } else { Err(Failure::new("not everything is as it should be; the table says what")) }
}

/// The unpacked source package of paho-mqtt, which has its tests.
fn paho_sources(python: &Path, place: &Path) -> Result<PathBuf, Failure> {
    let sources = place.join(prerequisites::PAHO.replace("==", "-").replace("paho-mqtt", "paho_mqtt"));
    let archive = sources.with_added_extension("tar.gz");
    if !sources.join("tests/test_mqttv5.py").is_file() {
        let step = Step::start("fetching the tests of paho-mqtt");
        let download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
        succeed(
            Command::new(python)
                .args(download)
                .args(["--no-binary", ":all:", prerequisites::PAHO, "--dest"])
                .arg(place),
        )?;
        succeed(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(place))?;
        step.done("fetched");
    }
    Ok(sources)
}

/// What npm installs for mqtt.js, by the lock file: the same bytes every time.
fn node_modules(place: &Path) -> Result<PathBuf, Failure> {
    let missing: Vec<&str> = [("node", "nodejs"), ("npm", "npm")]
        .into_iter()
        .filter(|(program, _)| !prerequisites::is_on_path(program))
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        debian::install(&missing)?;
    }
    let failed = |error: std::io::Error| Failure::new(format!("{} cannot be written", place.display())).because(error);
    let modules = place.join("node_modules");
    let source = repository::root().join(PROGRAMS);
    let lock = fs::read(source.join("package-lock.json")).map_err(failed)?;
    // npm writes the hidden file last.
    let installed = modules.join(".package-lock.json").is_file();
    if installed && fs::read(place.join("package-lock.json")).is_ok_and(|there| there == lock) {
        return Ok(modules);
    }
    fs::create_dir_all(place).map_err(failed)?;
    fs::copy(source.join("package.json"), place.join("package.json")).map_err(failed)?;
    fs::write(place.join("package-lock.json"), lock).map_err(failed)?;
    let step = Step::start("installing mqtt.js");
    // No package may run anything at its installation.
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    succeed(Command::new("npm").args(install).current_dir(place))?;
    step.done("installed");
    Ok(modules)
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let what = format!("{} cannot do its part", command.get_program().display());
    let status = command.status().map_err(|error| Failure::new(&what).because(error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(what).because(status)) }
}
