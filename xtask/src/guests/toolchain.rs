//! A compiler for `wasm32-unknown-unknown`, found on a ladder: the installed target, `rustup target add`,
//! Debian's packages, and at the end an error that says what to install.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::debian;
use crate::failure::Failure;
use crate::progress::Step;
use crate::repository;

/// What guests are compiled for: no operating system, so nothing of one can be imported by accident.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, its cargo, and the sources of the standard library, which it builds for the target.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A cargo that can build guests.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// In words, for the progress line.
    pub(super) origin: String,
    /// What `cargo build` needs besides.
    pub(super) build_flags: Vec<&'static str>,
    cargo: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Toolchain {
    /// A cargo command. Flags for the host's own code (`RUSTFLAGS`) are not passed on to the guests'.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for variable in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
            command.env_remove(variable);
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", portable_paths());
        command.envs(self.environment.iter().cloned());
        command
    }
}

/// Panic messages carry source paths: these flags keep the builder's home out of the component, and its bytes the
/// same wherever it is built. Separated as cargo wants it, by the unit separator.
fn portable_paths() -> OsString {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(repository::root());
    flags.push("=postern");
    if let Some(cargo_home) = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home) {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(cargo_home);
        flags.push("=cargo");
    }
    flags
}

/// Why a rung of the ladder does not hold.
type Missing = String;

/// Climbs the ladder.
pub(super) fn find() -> Result<Toolchain, Failure> {
    let mut reasons = Vec::new();
    for rung in [installed, by_rustup, by_debian] {
        match rung() {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => reasons.push(format!("- {reason}")),
        }
    }
    Err(Failure::new(format!("no compiler for {TARGET} could be found or installed"))
        .because(reasons.join("\n"))
        .advise(format!(
            "Install one of these and try again:\n  \
             rustup target add {TARGET}\n  \
             apt-get install {}    (Debian, as root)",
            DEBIAN_PACKAGES.join(" ")
        )))
}

/// Rung 1: the compiler in use has the target.
fn installed() -> Result<Toolchain, Missing> {
    let libraries = printed(Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET]))?;
    if !has_standard_library(Path::new(&libraries)) {
        return Err(format!("the installed Rust has no standard library for {TARGET}"));
    }
    Ok(Toolchain {
        origin: "installed target".to_owned(),
        build_flags: Vec::new(),
        cargo: env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
        environment: Vec::new(),
    })
}

/// rustc prints the directory whether or not it is there.
fn has_standard_library(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// Rung 2: rustup fetches the target for the compiler in use.
fn by_rustup() -> Result<Toolchain, Missing> {
    if run(Command::new("rustup").arg("--version")).is_err() {
        return Err("rustup is not installed".to_owned());
    }
    let step = Step::start(format!("rustup target add {TARGET}"));
    run(Command::new("rustup").args(["target", "add", TARGET]))
        .map_err(|seen| format!("rustup target add {TARGET}: {seen}"))?;
    step.done("installed");
    Ok(Toolchain { origin: "target from rustup".to_owned(), ..installed()? })
}

/// Rung 3: Debian's compiler builds the standard library from its sources.
fn by_debian() -> Result<Toolchain, Missing> {
    let debian_rustc = Path::new("/usr/bin/rustc");
    if !debian_packages_installed() {
        debian::install(&DEBIAN_PACKAGES).map_err(|failure| failure.to_string())?;
    }
    let sysroot = printed(Command::new(debian_rustc).args(["--print", "sysroot"]))?;
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/std").exists() {
        return Err(format!("{sysroot} has no sources of the standard library"));
    }
    let linker = wasm_linker()?;
    Ok(Toolchain {
        origin: "Debian's packages, standard library from source".to_owned(),
        build_flags: vec!["-Zbuild-std=std,panic_abort"],
        cargo: PathBuf::from("/usr/bin/cargo"),
        environment: vec![
            ("RUSTC", debian_rustc.into()),
            // Debian ships a stable compiler; -Zbuild-std is for those that admit to unstable options.
            ("RUSTC_BOOTSTRAP", "1".into()),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
        ],
    })
}

fn debian_packages_installed() -> bool {
    DEBIAN_PACKAGES.iter().all(|package| {
        printed(Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]))
            .is_ok_and(|status| status == "installed")
    })
}

/// The linker that comes with rustup's toolchain, or one that is on the path.
fn wasm_linker() -> Result<PathBuf, Missing> {
    let bundled = || -> Option<PathBuf> {
        let sysroot = printed(Command::new(rustc()).args(["--print", "sysroot"])).ok()?;
        let about = printed(Command::new(rustc()).arg("-vV")).ok()?;
        let host = about.lines().find_map(|line| line.strip_prefix("host: "))?;
        let path = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
        path.exists().then_some(path)
    };
    let on_path = |name: &str| -> Option<PathBuf> {
        env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.exists())
    };
    bundled()
        .or_else(|| ["rust-lld", "wasm-ld", "wasm-ld-19", "wasm-ld-16", "wasm-ld-14"].into_iter().find_map(on_path))
        .ok_or_else(|| {
            "there is no linker for WebAssembly (rust-lld or wasm-ld; Debian: apt-get install lld)".to_owned()
        })
}

fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Runs a command that either works or says why not on its last lines.
fn run(command: &mut Command) -> Result<(), Missing> {
    succeeded(command).map(drop)
}

/// Runs a command and gives what it prints, without the line's end.
fn printed(command: &mut Command) -> Result<String, Missing> {
    let output = succeeded(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn succeeded(command: &mut Command) -> Result<Output, Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
    Err(format!("{program}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_standard_library_is_not_an_installed_target() {
        assert!(!has_standard_library(Path::new("/nonexistent")));
        let directory = env::temp_dir().join(format!("xtask-toolchain-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(!has_standard_library(&directory));
        fs::write(directory.join("libstd-0123.rlib"), b"").unwrap();
        assert!(has_standard_library(&directory));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_tool_that_fails_is_quoted_by_its_last_line() {
        let reason = run(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"])).unwrap_err();
        assert_eq!(reason, "sh: two");
        assert!(run(&mut Command::new("/nonexistent/tool")).unwrap_err().starts_with("/nonexistent/tool: "));
    }
}
