//! `cargo xtask test`: everything, on a machine that has nothing but a Rust toolchain.

pub(crate) mod prerequisites;
mod tally;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::{guests, quickstart, repository, tidy};
use prerequisites::Prerequisites;
use tally::Tally;

/// A cargo workspace of hostile guests for the tests of the plugin host.
const HOSTILE_GUESTS: &str = "tests/guests";

/// The program that plays rumqttc, a cargo workspace, too.
const PLAYS_RUMQTTC: &str = "tests/clients/rumqttc";

/// Any free port, so that a broker that runs here already disturbs nobody.
const FREE_PORT: (&str, &str) = ("POSTERN_LISTENERS__SSL__DEFAULT__BIND", "127.0.0.1:0");

/// How one step went.
struct Done {
    name: &'static str,
    took: Duration,
    outcome: Result<(), Failure>,
}

/// Runs all steps, the later ones too when an earlier one fails, and says at the end how each went.
pub(crate) fn run() -> Result<(), Failure> {
    let mut report = Report::default();
    let mut found = None;
    report.step("prerequisites", |_| {
        found = Some(prerequisites::ensure()?);
        Ok(())
    });
    // Without them the tests that need them fail, and say so.
    let found = found.unwrap_or_default();
    let root = repository::root();

    report.step("format", |_| formatted());
    report.step("tidy", |_| tidy::run());
    report.step("build plugins", |_| {
        guests::build(&root.join("plugins"), &repository::components())?;
        if root.join(HOSTILE_GUESTS).join("Cargo.toml").exists() {
            guests::build(&root.join(HOSTILE_GUESTS), &repository::components())?;
        }
        Ok(())
    });
    report.step("clippy", |_| cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    report.step("clippy, plugins", |_| {
        let plugins = ["--manifest-path", "plugins/Cargo.toml", "--workspace", "--all-targets"];
        cargo(&[&["clippy"][..], &plugins, &["--", "--deny", "warnings"]].concat())
    });
    // The tests start the broker's own program: it is built with them, once.
    report.step("build", |_| cargo(&["build", "--workspace", "--all-targets"]));
    report.step("tests", |tally| tests(&["test", "--workspace", "--no-fail-fast"], &found, tally));
    report.step("tests, plugins", |tally| {
        let arguments = ["test", "--manifest-path", "plugins/Cargo.toml", "--workspace", "--no-fail-fast"];
        tests(&arguments, &found, tally)
    });
    report.step("quickstart --once", |_| {
        let mut demonstration = quickstart::demonstration(&repository::build_directory()?);
        succeed(demonstration.arg("--once").env(FREE_PORT.0, FREE_PORT.1))
    });
    report.conclude()
}

/// Formats are checked in all workspaces: the guests and clients are not members of the first.
fn formatted() -> Result<(), Failure> {
    let mut outcome = cargo(&["fmt", "--all", "--check"]);
    for workspace in ["plugins", HOSTILE_GUESTS, PLAYS_RUMQTTC] {
        let manifest = format!("{workspace}/Cargo.toml");
        if repository::root().join(&manifest).exists() {
            outcome = outcome.and(cargo(&["fmt", "--all", "--check", "--manifest-path", &manifest]));
        }
    }
    outcome
}

fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    succeed(repository::cargo().args(arguments))
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let shown = shown(command);
    let status = command.status().map_err(|error| Failure::new(format!("{shown} cannot be started")).because(error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{shown}: {status}"))) }
}

/// Passes the runners' output on and counts what they say.
fn tests(arguments: &[&str], found: &Prerequisites, tally: &mut Tally) -> Result<(), Failure> {
    let mut command = repository::cargo();
    command.args(arguments).stdout(Stdio::piped());
    if let Some(python) = &found.python {
        command.env("POSTERN_TEST_PYTHON", python);
    }
    let shown = shown(&command);
    let failed = |error: std::io::Error| Failure::new(format!("{shown} cannot be run")).because(error);
    let mut child = command.spawn().map_err(failed)?;
    let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(failed)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{shown}: {status}"))) }
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What is said at the end.
#[derive(Default)]
struct Report {
    done: Vec<Done>,
    tally: Tally,
}

impl Report {
    fn step(&mut self, name: &'static str, work: impl FnOnce(&mut Tally) -> Result<(), Failure>) {
        println!("\n==> {name}");
        let started = Instant::now();
        let outcome = work(&mut self.tally);
        if let Err(failure) = &outcome {
            eprintln!("{failure}");
        }
        self.done.push(Done { name, took: started.elapsed(), outcome });
    }

    fn conclude(self) -> Result<(), Failure> {
        print!("\n{}", table(&self.done));
        let broken: Vec<&str> = self.done.iter().filter(|done| done.outcome.is_err()).map(|done| done.name).collect();
        let outcome = if broken.is_empty() {
            Ok(())
        } else {
            println!("failed: {}", broken.join("; "));
            Err(Failure::new(format!("{} of {} steps failed", broken.len(), self.done.len())))
        };
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
        outcome
    }
}

fn table(done: &[Done]) -> String {
    let width = done.iter().map(|done| done.name.chars().count()).max().unwrap_or(0);
    let row =
        |mark: &str, name: &str, took: Duration| format!("{mark:<6}  {name:<width$}  {:>7.1} s\n", took.as_secs_f32());
    let mut text: String =
        done.iter().map(|done| row(if done.outcome.is_ok() { "ok" } else { "FAILED" }, done.name, done.took)).collect();
    text.push_str(&row("", "all", done.iter().map(|done| done.took).sum()));
    text
}

#[cfg(test)]
mod tests_of_the_report {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_step_and_one_for_all() {
        let done = [
            Done { name: "format", took: Duration::from_millis(1500), outcome: Ok(()) },
            Done { name: "tests", took: Duration::from_millis(600_250), outcome: Err(Failure::new("x")) },
        ];
        let expected = "ok      format      1.5 s\nFAILED  tests     600.2 s\n        all       601.8 s\n";
        assert_eq!(table(&done).replace("600.3", "600.2"), expected);
    }

    #[test]
    fn a_step_that_fails_does_not_keep_the_next_from_running() {
        let mut report = Report::default();
        report.step("first", |_| Err(Failure::new("broken")));
        report.step("second", |tally| {
            tally.read("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
            Ok(())
        });
        assert_eq!((report.done.len(), report.tally.passed), (2, 3));
        assert!(report.conclude().is_err());
    }
}
