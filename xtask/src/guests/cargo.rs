//! One cargo build of a workspace of guests, watched.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::toolchain::Toolchain;
use crate::failure::Failure;
use crate::progress::Step;
use crate::repository;

/// The first words of the lines that tell how a build goes on; every other line is for a person to read.
const PROGRESS: [&str; 9] =
    ["Compiling", "Downloading", "Downloaded", "Updating", "Locking", "Adding", "Blocking", "Finished", "Building"];

/// A core module that cargo made of a guest.
#[derive(Debug)]
pub(super) struct Module {
    /// The crate's name.
    pub(super) name: String,
    /// The file.
    pub(super) path: PathBuf,
}

/// Builds the workspace for release and gives the modules in the order of their names.
pub(super) fn build(toolchain: &Toolchain, workspace: &Path, step: &Step) -> Result<Vec<Module>, Failure> {
    let guests = guests(toolchain, workspace)?;
    let mut command = toolchain.cargo();
    command
        .args(["build", "--release", "--target", super::toolchain::TARGET])
        .args(["--message-format", "json-render-diagnostics", "--workspace", "--lib"])
        .args(&toolchain.build_flags)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(repository::guest_builds());
    let output = watched(command, step)?;
    let mut modules: Vec<Module> =
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).filter_map(|m| module(&m, &guests)).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

/// Package id to crate name, for the members with a `cdylib` target.
fn guests(toolchain: &Toolchain, workspace: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut command = toolchain.cargo();
    command
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(workspace.join("Cargo.toml"));
    let failed = |seen: String| {
        Failure::new(format!("cargo does not understand {}", repository::shown(workspace))).because(seen)
    };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(packages
        .iter()
        .filter(|package| package["targets"].as_array().is_some_and(|targets| targets.iter().any(is_cdylib)))
        .filter_map(|package| Some((package["id"].as_str()?.to_owned(), package["name"].as_str()?.to_owned())))
        .collect())
}

fn is_cdylib(target: &Value) -> bool {
    target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
}

/// The module that one message of cargo's tells of, if it does.
fn module(message: &Value, guests: &BTreeMap<String, String>) -> Option<Module> {
    if message["reason"] != "compiler-artifact" || !is_cdylib(&message["target"]) {
        return None;
    }
    let name = guests.get(message["package_id"].as_str()?)?.clone();
    let file = message["filenames"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .map(PathBuf::from)
        .find(|f| f.extension().is_some_and(|end| end == "wasm"))?;
    Some(Module { name, path: file })
}

/// Runs cargo and gives its standard output; its progress goes to the step, warnings stay on the screen.
fn watched(mut command: Command, step: &Step) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new("cargo cannot be started").because(error);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut stdout = child.stdout.take().expect("standard output was asked for as a pipe");
    let stderr = child.stderr.take().expect("standard error was asked for as a pipe");
    let messages = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if PROGRESS.iter().any(|word| line.trim_start().starts_with(word)) {
            step.detail(line.trim());
        } else {
            step.note(&line);
        }
    }
    let status = child.wait().map_err(failed)?;
    let text = messages.join().expect("the reader only reads").map_err(failed)?;
    if status.success() {
        return Ok(text);
    }
    // A cargo that was killed says nothing; its status does.
    Err(Failure::new(format!("the plugins do not build; cargo says why above ({status})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefact(crate_type: &str) -> Value {
        serde_json::json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///p#a-b@0.1.0",
            "target": { "crate_types": [crate_type] },
            "filenames": ["/t/liba_b.rlib", "/t/a_b.wasm"],
        })
    }

    #[test]
    fn a_guest_keeps_the_name_of_its_crate_and_libraries_are_left_out() {
        let guests = BTreeMap::from([("path+file:///p#a-b@0.1.0".to_owned(), "a-b".to_owned())]);
        let found = module(&artefact("cdylib"), &guests).unwrap();
        assert_eq!((found.name.as_str(), found.path), ("a-b", PathBuf::from("/t/a_b.wasm")));
        assert!(module(&artefact("rlib"), &guests).is_none());
    }
}
