//! `cargo xtask conformance-table`: which test holds which normative statement of MQTT, read from the tests.

mod scan;
mod statements;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::{repository, tidy};
use statements::{Statement, VERSIONS, Version};

/// Where tests are looked for, with those that stand in the sources.
const PLACES: [&str; 2] = ["core", "tests/tests"];

/// The statement, and the tests that fail if it is broken: `file::name`.
type Rows = BTreeMap<Statement, BTreeSet<String>>;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the table is not as the tests would have it.
    #[arg(long)]
    check: bool,
}

/// Writes the table, or compares it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.check {
        check()?;
        println!("{} is up to date", repository::shown(&table_path()));
        return Ok(());
    }
    let path = table_path();
    fs::write(&path, table()?)
        .map_err(|error| Failure::new(format!("{} cannot be written", repository::shown(&path))).because(error))?;
    println!("{} written", repository::shown(&path));
    Ok(())
}

/// Fails if the table in the repository is not the one that the tests give.
pub(crate) fn check() -> Result<(), Failure> {
    let committed = fs::read_to_string(table_path()).unwrap_or_default();
    if committed == table()? {
        return Ok(());
    }
    Err(Failure::new(format!("{} is not what the tests say", repository::shown(&table_path())))
        .advise("Write it anew: cargo xtask conformance-table"))
}

fn table_path() -> PathBuf {
    repository::root().join("tests/conformance.md")
}

fn table() -> Result<String, Failure> {
    let mut rows = Rows::new();
    let mut faults = Vec::new();
    for place in PLACES {
        for file in tidy::sources(&repository::root().join(place))? {
            scan::file(&repository::shown(&file), &tidy::read(&file)?, &mut rows, &mut faults);
        }
    }
    if faults.is_empty() {
        return Ok(render(&rows));
    }
    Err(Failure::new("statements are not named as they must be")
        .because(faults.join("\n"))
        .advise("tests/conformance.md begins with the convention."))
}

fn render(rows: &Rows) -> String {
    let mut text = String::from(HEAD);
    for version in VERSIONS {
        render_version(version, rows, &mut text);
    }
    text
}

fn render_version(version: Version, rows: &Rows, text: &mut String) {
    let held: Vec<_> = rows.iter().filter(|(statement, _)| statement.version == version).collect();
    let binding: Vec<Statement> =
        version.statements().filter(|s| !s.is_for_clients() && s.reason_absent().is_none()).collect();
    let missing: Vec<String> =
        binding.iter().filter(|s| !rows.contains_key(s)).map(|statement| format!("`{statement}`")).collect();
    let _ = writeln!(text, "\n## MQTT {version}\n");
    let _ = writeln!(
        text,
        "{} of the {} statements that bind a server are named by a test.\n",
        binding.len() - missing.len(),
        binding.len()
    );
    text.push_str("| statement | tests |\n| --- | --- |\n");
    for (statement, tests) in held {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(text, "| {statement} | {} |", tests.join("<br>"));
    }
    if !missing.is_empty() {
        let _ = writeln!(text, "\nNo test names these yet: {}.", missing.join(", "));
    }
    let absent: Vec<String> = version
        .statements()
        .filter_map(|statement| statement.reason_absent().map(|reason| format!("- `{statement}`: {reason}\n")))
        .collect();
    if !absent.is_empty() {
        let _ = write!(text, "\nThese have no object here:\n\n{}", absent.concat());
    }
    let clients: Vec<String> = version
        .statements()
        .filter(|statement| statement.is_for_clients() && !rows.contains_key(statement))
        .map(|statement| format!("`{statement}`"))
        .collect();
    let _ = writeln!(text, "\nThese bind clients alone: {}.", clients.join(", "));
}

const HEAD: &str = "\
# Conformance

Which test holds which normative statement of the standards. Generated from the tests by
`cargo xtask conformance-table`; `cargo xtask tidy` fails while it is stale. Do not edit it.

A test says what it holds in lines of its documentation, one for each version, right above `#[test]`:

```rust
/// v5: MQTT-3.1.2-22
/// v3.1.1: MQTT-3.1.2-24
#[test]
fn only_whole_packets_move_the_deadline() {
```

The rule: a test names a statement only if it fails where the statement is broken. Several statements of one version are
separated by `, `. The numbers are those in the text of the OASIS standards (5.0 of March 2019, 3.1.1 with errata),
which name different things in the two versions; conformance of whole products (section 7) is left out. 3.1 has no
numbered statements: where it differs from 3.1.1, tests have `3_1` in their names.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_statement_and_says_what_is_missing() {
        let mut rows = Rows::new();
        let mut faults = Vec::new();
        let source =
            "/// v5: MQTT-3.1.0-2, MQTT-3.1.2-3\n#[test]\nfn one() {\n/// v5: MQTT-3.1.0-2\n#[test]\nfn two() {";
        scan::file("a.rs", source, &mut rows, &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        let text = render(&rows);
        assert!(text.contains("\n| MQTT-3.1.0-2 | `a.rs::one`<br>`a.rs::two` |\n| MQTT-3.1.2-3 | `a.rs::one` |\n"));
        assert!(text.contains("\n2 of the "));
        assert!(text.contains("No test names these yet: `MQTT-1.5.4-1`, "));
    }

    /// Holds the committed table itself, so that `cargo test` alone finds a stale one.
    #[test]
    fn the_table_in_the_repository_is_up_to_date() {
        check().expect("cargo xtask conformance-table");
    }
}
