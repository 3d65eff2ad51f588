//! Guests: from the crates of a workspace to components.
//!
//! Every member with a `cdylib` target is a guest; the others are libraries that guests share. Cargo rebuilds
//! what changed. Making a component of a module takes a few milliseconds, so it is always done and compared:
//! a file whose contents would be the same keeps its modification time.

mod cargo;
mod component;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::progress::Step;
use crate::repository;

/// A component on disk.
#[derive(Debug)]
pub(crate) struct Component {
    /// The crate's name.
    pub(crate) name: String,
    /// The file.
    #[allow(dead_code, reason = "for the tasks that start the broker on it")]
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: usize,
    /// The hooks that it exports, such as `cert-resolver`.
    pub(crate) hooks: Vec<String>,
    /// What it calls: short names for the gate's own interfaces, full names for all others.
    pub(crate) imports: Vec<String>,
    /// Whether its contents changed.
    pub(crate) rewritten: bool,
}

/// Builds the guests of a workspace to `out/NAME.wasm`, in the order of their names.
pub(crate) fn build(workspace: &Path, out: &Path) -> Result<Vec<Component>, Failure> {
    if !workspace.join("Cargo.toml").exists() {
        return Err(Failure::new(format!("{} is not a cargo workspace", repository::shown(workspace)))
            .because("it has no Cargo.toml"));
    }
    let toolchain = toolchain::find()?;
    let step = Step::start(format!("building {} ({})", repository::shown(workspace), toolchain.origin));
    let modules = cargo::build(&toolchain, workspace, &step)?;
    if modules.is_empty() {
        return Err(Failure::new(format!("{} has no guest", repository::shown(workspace)))
            .advise("A guest's Cargo.toml has `[lib]` with `crate-type = [\"cdylib\"]`."));
    }
    fs::create_dir_all(out)
        .map_err(|error| Failure::new(format!("cannot make {}", repository::shown(out))).because(error))?;
    let components: Vec<Component> = modules.iter().map(|module| install(module, out)).collect::<Result<_, _>>()?;
    let changed = components.iter().filter(|component| component.rewritten).count();
    step.done(&format!("{} plugins, {changed} changed", components.len()));
    Ok(components)
}

fn install(module: &cargo::Module, out: &Path) -> Result<Component, Failure> {
    let core = fs::read(&module.path)
        .map_err(|error| Failure::new(format!("cannot read {}", module.path.display())).because(error))?;
    let bytes = component::encode(&module.name, &core)?;
    let contents = component::describe(&module.name, &bytes)?;
    let path = out.join(format!("{}.wasm", module.name));
    let rewritten = write_if_changed(&path, &bytes)
        .map_err(|error| Failure::new(format!("cannot write {}", repository::shown(&path))).because(error))?;
    Ok(Component {
        name: module.name.clone(),
        path,
        bytes: bytes.len(),
        hooks: contents.hooks,
        imports: contents.imports,
        rewritten,
    })
}

/// Leaves an equal file alone; otherwise a reader sees the old file or the new one, never a part.
fn write_if_changed(path: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    let unfinished = path.with_extension("wasm.new");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_file_keeps_its_modification_time() {
        let directory = std::env::temp_dir().join(format!("xtask-guests-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.wasm");
        assert!(write_if_changed(&path, b"one").unwrap());
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first);
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        fs::remove_dir_all(&directory).unwrap();
    }
}
