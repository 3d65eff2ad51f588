//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that the compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::{conformance, repository};

/// Longest source file, in lines.
const LINES_MAX: usize = 600;

/// Which of our crates a room may import. A room that is not named here may import all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("mqtt", &[]),
    ("identity", &[]),
    ("realm", &["postern-mqtt", "postern-identity"]),
    ("tls", &["postern-identity"]),
    ("config", &["postern-identity"]),
    ("plugin", &["postern-identity"]),
    ("api", &["postern-config", "postern-server"]),
    ("store", &["postern-identity"]),
    ("postern", &["postern-api", "postern-config", "postern-identity", "postern-plugin", "postern-server"]),
];

/// Rooms without I/O, clock or runtime, and the words that would bring them in.
const PURE: &[&str] = &["mqtt", "identity", "realm", "tls", "config"];
const IMPURE: &[&str] =
    &["Instant::now", "SystemTime::now", "std::fs", "TcpStream", "TcpListener", "UdpSocket", "tokio::"];

/// A module with such a name has no subject.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "types", "helper", "helpers", "manager", "misc"];

/// Words that must not name anything a plugin can see, and the names that only sound like them.
const SECRET_WORDS: &[&str] = &["key", "pem", "password", "secret", "path", "token"];
const NOT_SECRET: &[&str] = &["key-type", "extended-key-usages", "path"];

/// One broken rule.
struct Fault {
    place: String,
    text: String,
}

/// Checks all of it and lists every fault.
pub(crate) fn run() -> Result<(), Failure> {
    let mut faults = Vec::new();
    for room in rooms()? {
        check_imports(&room, &mut faults)?;
        check_room(&room, &mut faults)?;
    }
    for part in ["examples", "tests", "xtask", "plugins"] {
        for file in sources(&repository::root().join(part))? {
            check_shape(&file, &read(&file)?, &mut faults);
        }
    }
    check_wit(&mut faults)?;
    if faults.is_empty() {
        conformance::check()?;
        println!("tidy: nothing to mend");
        return Ok(());
    }
    let list: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.place, fault.text)).collect();
    Err(Failure::new(format!("{} rules of the house are broken", faults.len()))
        .because(list.join("\n"))
        .advise("ARCHITECTURE.md has the rules and their reasons."))
}

fn rooms() -> Result<Vec<PathBuf>, Failure> {
    let core = repository::root().join("core");
    let mut rooms: Vec<PathBuf> =
        entries(&core)?.into_iter().filter(|path| path.join("Cargo.toml").is_file()).collect();
    rooms.sort();
    Ok(rooms)
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Imports go down only.
fn check_imports(room: &Path, faults: &mut Vec<Fault>) -> Result<(), Failure> {
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == name_of(room)) else { return Ok(()) };
    let manifest = room.join("Cargo.toml");
    let text = read(&manifest)?;
    let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
    for line in dependencies.lines().take_while(|line| !line.starts_with('[')) {
        let import = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let ours = import.starts_with("postern-") && !allowed.contains(&import);
        let runtime = PURE.contains(&name_of(room)) && import.starts_with("tokio");
        if ours || runtime {
            faults.push(Fault {
                place: repository::shown(&manifest),
                text: format!("core/{} may not import {import}", name_of(room)),
            });
        }
    }
    Ok(())
}

fn check_room(room: &Path, faults: &mut Vec<Fault>) -> Result<(), Failure> {
    for file in sources(room)? {
        let text = read(&file)?;
        check_shape(&file, &text, faults);
        let is_of_tests = |part: &str| matches!(part, "tests" | "tests.rs" | "benches");
        let in_tests = file.iter().any(|part| part.to_str().is_some_and(is_of_tests));
        if in_tests {
            continue;
        }
        for (number, line) in product_lines(&text) {
            let mut fault = |text: String| {
                faults.push(Fault { place: format!("{}:{number}", repository::shown(&file)), text });
            };
            if PURE.contains(&name_of(room))
                && let Some(word) = IMPURE.iter().find(|word| line.contains(**word))
            {
                fault(format!("`{word}` in a room without I/O and clock: take it as a parameter"));
            }
            if line.contains("unbounded_channel") {
                fault("channels are bounded".to_owned());
            }
            if name_of(room) != "mqtt" && ["Version::V3", "Version::V5"].iter().any(|word| line.contains(word)) {
                fault("the MQTT version is known in core/mqtt alone".to_owned());
            }
        }
    }
    Ok(())
}

/// The lines of a file before its tests, without comments, with their numbers.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

fn check_shape(file: &Path, text: &str, faults: &mut Vec<Fault>) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        let text = format!("{lines} lines, at most {LINES_MAX}: it holds more than one subject");
        faults.push(Fault { place: repository::shown(file), text });
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        faults.push(Fault { place: repository::shown(file), text: format!("a module called `{stem}` has no subject") });
    }
}

/// Nothing in the contract with plugins names a key, a password or a path.
fn check_wit(faults: &mut Vec<Fault>) -> Result<(), Failure> {
    for file in entries(&repository::root().join("wit"))?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "wit"))
    {
        let text = read(&file)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
                let secret = word.split('-').any(|part| SECRET_WORDS.contains(&part));
                if secret && !NOT_SECRET.contains(&word) {
                    let place = format!("{}:{}", repository::shown(&file), number + 1);
                    faults.push(Fault { place, text: format!("`{word}` sounds like something no plugin may see") });
                }
            }
        }
    }
    Ok(())
}

/// All Rust files below a directory, build output left out.
pub(crate) fn sources(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        if path.is_dir() && name_of(&path) != "target" && !name_of(&path).starts_with('.') {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::new(format!("{} cannot be listed", repository::shown(dir))).because(error);
    let listing = fs::read_dir(dir).map_err(failed)?;
    Ok(listing.filter_map(Result::ok).map(|entry| entry.path()).collect())
}

pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{} cannot be read", repository::shown(file))).because(error))
}
