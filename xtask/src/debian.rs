//! Debian's packages, for tools that a task needs and the machine does not have.

use std::process::Command;

use crate::failure::Failure;
use crate::progress::Step;

/// Installs packages, as root or by a sudo that asks no question.
pub(crate) fn install(packages: &[&str]) -> Result<(), Failure> {
    let names = packages.join(" ");
    let failed = |seen: String| {
        Failure::new(format!("cannot install {names}"))
            .because(seen)
            .advise(format!("Install it and try again: apt-get install {names} (Debian, as root)"))
    };
    if run(Command::new("apt-get").arg("--version")).is_err() {
        return Err(failed("there is no apt-get here".to_owned()));
    }
    let step = Step::start(format!("apt-get install {names}"));
    let mut last = String::new();
    // Root needs no sudo; anyone else gets no question for a password out of a build tool.
    for prefix in [&[][..], &["sudo", "-n"][..]] {
        let apt_get = |arguments: &[&str]| {
            let words: Vec<&str> = prefix.iter().copied().chain(["apt-get"]).chain(arguments.iter().copied()).collect();
            run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        let install = [&["install", "--yes", "--no-install-recommends"][..], packages].concat();
        // The lists of a machine that is in use are good enough; those of a fresh one are empty.
        match apt_get(&install).or_else(|_| apt_get(&["update"]).and_then(|()| apt_get(&install))) {
            Ok(()) => {
                step.done("installed");
                return Ok(());
            }
            Err(seen) => last = seen,
        }
    }
    Err(failed(last))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
    Err(format!("{program}: {last}"))
}
