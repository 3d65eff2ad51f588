//! Programs that the tests drive the broker with, written by others.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::progress::Step;
use crate::{debian, repository};

/// A program that the tests start, and Debian's package of it.
const PROGRAMS: [(&str, &str); 4] = [
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("openssl", "openssl"),
    ("python3", "python3"),
];

/// Fixed, so that a new release changes no result.
pub(crate) const PAHO: &str = "paho-mqtt==2.1.0";

/// Succeeds where paho-mqtt 2 is installed.
const PAHO_PROBE: &str = "from paho.mqtt.enums import CallbackAPIVersion";

/// What was found or installed.
#[derive(Debug, Default)]
pub(crate) struct Prerequisites {
    /// The Python that has paho-mqtt.
    pub(crate) python: Option<PathBuf>,
}

/// Installs what is missing.
pub(crate) fn ensure() -> Result<Prerequisites, Failure> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_on_path(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    if !missing.is_empty() {
        debian::install(&missing)?;
    }
    let python = python_with_paho()?;
    println!("mosquitto_pub, mosquitto_sub and openssl are installed; Python with paho-mqtt: {}", python.display());
    Ok(Prerequisites { python: Some(python) })
}

/// Whether a program can be started by its name.
pub(crate) fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// The system's Python if it has paho-mqtt; else one of our own beside cargo's builds.
fn python_with_paho() -> Result<PathBuf, Failure> {
    let system = PathBuf::from("python3");
    if has_paho(&system) {
        return Ok(system);
    }
    let environment = repository::build_directory()?.join("test-python");
    let python = environment.join("bin/python");
    if has_paho(&python) {
        return Ok(python);
    }
    let step = Step::start(format!("installing {PAHO}"));
    install_python_package(&environment, PAHO)?;
    step.done("installed");
    Ok(python)
}

/// One package of `PyPI` in an environment of its own.
pub(crate) fn install_python_package(environment: &Path, package: &str) -> Result<(), Failure> {
    if make_environment(environment).is_err() {
        // Debian keeps the module that makes environments in a package of its own.
        debian::install(&["python3-venv"])?;
        make_environment(environment)?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    succeed(Command::new(environment.join("bin/python")).args(install), package)
}

fn has_paho(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", PAHO_PROBE])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// `--clear`: an attempt that was cut short leaves an environment without pip behind.
fn make_environment(directory: &Path) -> Result<(), Failure> {
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory), "python3-venv")
}

fn succeed(command: &mut Command, package: &str) -> Result<(), Failure> {
    let what = format!(
        "{} {}",
        command.get_program().display(),
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    );
    let output = command.output().map_err(|error| Failure::new(&what).because(error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(&what)
        .because(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
        .advise(format!("What is missing is {package}; a Python that can install it is needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_on_the_path() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program-anywhere"));
    }

    #[test]
    fn a_python_that_is_not_there_has_no_paho() {
        assert!(!has_paho(Path::new("/nonexistent/python")));
    }
}
