//! `cargo xtask scan`: what programs of others that look for weaknesses of TLS find at a listener with defaults.
//!
//! sslyze holds the listener against Mozilla's "intermediate" profile, testssl.sh tries ciphers and known attacks. One listener
//! with a key on a curve, one with RSA; one `ssl`, one `wss`. It takes some minutes: testssl.sh waits for time-outs.

mod findings;
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::progress::Step;
use crate::test::prerequisites;
use crate::{debian, repository};
use site::Site;

/// Fixed, so that a new release changes no result.
const SSLYZE: &str = "sslyze==6.3.1";

/// Of testssl.sh: protocols, standard ciphers, forward secrecy, the listener's preferences and defaults, vulnerabilities.
/// Without the simulation of browsers, and without one handshake for each of 370 ciphers, of which the first two say enough.
const LOOK_AT: [&str; 6] = ["-p", "-s", "-f", "-P", "-S", "-U"];

/// Debian's package has no suffix.
const TESTSSL: [&str; 2] = ["testssl", "testssl.sh"];

/// Runs both, at both listeners.
pub(crate) fn run() -> Result<(), Failure> {
    let target = repository::build_directory()?;
    let testssl = testssl()?;
    let sslyze = sslyze(&target.join("scan-python"))?;
    succeed(repository::cargo().args(["build", "--workspace", "--all-targets"]))?;
    let site = Site::start(&target.join("scan"), &target.join("debug/postern"))?;
    let mut weak = Vec::new();
    for (listener, port) in site.listeners() {
        weak.extend(by_sslyze(&sslyze, &site, listener, port)?);
        weak.extend(by_testssl(testssl, &site, listener, port)?);
    }
    if weak.is_empty() {
        println!("no weakness is reported");
        return Ok(());
    }
    Err(Failure::new("weaknesses are reported").because(weak.join("\n")))
}

/// Its exit code is the verdict; the last lines say what is not compliant.
fn by_sslyze(sslyze: &Path, site: &Site, listener: &str, port: u16) -> Result<Vec<String>, Failure> {
    let mut command = Command::new(sslyze);
    command.arg("--certinfo_ca_file").arg(site.ca()).arg(format!("localhost:{port}"));
    let failed = |error: std::io::Error| Failure::new("sslyze cannot be run").because(error);
    let output = command.output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict: Vec<&str> = text.lines().skip_while(|line| !line.contains("COMPLIANCE AGAINST")).skip(2).collect();
    let verdict: Vec<&str> = verdict.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    println!("{listener}, {SSLYZE}: {}", verdict.last().copied().unwrap_or("no verdict"));
    if output.status.success() && verdict.last().is_some_and(|line| line.ends_with("OK - Compliant.")) {
        return Ok(Vec::new());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Ok(verdict.into_iter().chain(errors.lines()).map(|line| format!("{listener}, sslyze: {line}")).collect())
}

fn by_testssl(testssl: &str, site: &Site, listener: &str, port: u16) -> Result<Vec<String>, Failure> {
    let report = site.report(port);
    // It refuses to write over an earlier one.
    let _ = std::fs::remove_file(&report);
    let step = Step::start(format!("testssl.sh at {listener}"));
    let mut command = Command::new(testssl);
    command.args(["--quiet", "--color", "0", "--warnings", "batch", "--ip", "one"]).args(LOOK_AT);
    command.arg("--add-ca").arg(site.ca()).arg("--jsonfile").arg(&report).arg(format!("localhost:{port}"));
    let output = command.output().map_err(|error| Failure::new("testssl.sh cannot be run").because(error))?;
    let unread = |why: String| {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Failure::new(format!("testssl.sh left no report: {why}")).because(said)
    };
    let text = std::fs::read_to_string(&report).map_err(|error| unread(error.to_string()))?;
    let found = findings::read(&text).map_err(unread)?;
    step.done("done");
    println!("{listener}, testssl.sh: {}", findings::summary(&found));
    Ok(findings::weak(&found).map(|finding| format!("{listener}, testssl.sh: {finding}")).collect())
}

fn testssl() -> Result<&'static str, Failure> {
    let there = || TESTSSL.into_iter().find(|name| prerequisites::is_on_path(name));
    if let Some(found) = there() {
        return Ok(found);
    }
    debian::install(&["testssl.sh", "openssl"])?;
    there().ok_or_else(|| Failure::new("testssl.sh was installed and is not on the path"))
}

/// In a Python environment of its own.
fn sslyze(environment: &Path) -> Result<PathBuf, Failure> {
    let program = environment.join("bin/sslyze");
    if program.is_file() {
        return Ok(program);
    }
    let step = Step::start(format!("installing {SSLYZE}"));
    prerequisites::install_python_package(environment, SSLYZE)?;
    step.done("installed");
    Ok(program)
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let what = format!("{} cannot do its part", command.get_program().display());
    let status = command.status().map_err(|error| Failure::new(&what).because(error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(what).because(status)) }
}
