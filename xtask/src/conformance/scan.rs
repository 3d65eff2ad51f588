//! Reads the statements that tests name.

use super::Rows;
use super::statements::{Statement, VERSIONS, Version};

/// What stands above the next item.
#[derive(Default)]
struct Above {
    statements: Vec<Statement>,
    is_test: bool,
}

/// Adds the tests of one source file to `rows`, and what is wrong with their lines to `faults`.
pub(super) fn file(name: &str, source: &str, rows: &mut Rows, faults: &mut Vec<String>) {
    let mut above = Above::default();
    for (index, line) in source.lines().enumerate() {
        let line = line.trim();
        let mut fault = |text: &str| faults.push(format!("{name}:{}: {text}", index + 1));
        if let Some(doc) = line.strip_prefix("///") {
            match statements_of(doc.trim()) {
                Ok(statements) => above.statements.extend(statements),
                Err(text) => fault(&text),
            }
            continue;
        }
        if line.starts_with("#[") {
            above.is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let Above { statements, is_test } = std::mem::take(&mut above);
        if statements.is_empty() {
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        match function.and_then(|rest| rest.split('(').next()) {
            Some(test) if is_test => {
                for statement in statements {
                    rows.entry(statement).or_default().insert(format!("{name}::{test}"));
                }
            }
            _ => fault("statements are named above something that is not a test"),
        }
    }
}

/// The statements in one line of documentation; most lines have none.
fn statements_of(doc: &str) -> Result<Vec<Statement>, String> {
    let named = |version: &Version| doc.strip_prefix(version.prefix()).map(|list| (*version, list));
    let Some((version, list)) = VERSIONS.iter().find_map(named) else { return Ok(Vec::new()) };
    list.split(',').map(|id| Statement::parse(version, id.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(source: &str) -> (Vec<String>, Vec<String>) {
        let (mut rows, mut faults) = (Rows::new(), Vec::new());
        file("a.rs", source, &mut rows, &mut faults);
        let rows = rows.iter().flat_map(|(statement, tests)| {
            tests.iter().map(move |test| format!("{} {statement} {test}", statement.version))
        });
        (rows.collect(), faults)
    }

    #[test]
    fn both_versions_and_several_statements_are_read() {
        let source = "
            /// Why.
            ///
            /// v5: MQTT-3.1.2-22, MQTT-2.1.3-1
            /// v3.1.1: MQTT-3.1.2-24
            #[tokio::test]
            async fn a_test() {
            fn no_test() {";
        let rows =
            ["3.1.1 MQTT-3.1.2-24 a.rs::a_test", "5.0 MQTT-2.1.3-1 a.rs::a_test", "5.0 MQTT-3.1.2-22 a.rs::a_test"];
        assert_eq!(scanned(source), (rows.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[test]
    fn what_is_not_a_test_holds_nothing() {
        for source in ["/// v5: MQTT-3.1.2-22\nfn a() {", "/// v5: MQTT-3.1.2-22\n#[test]\n\nfn a() {"] {
            let (rows, faults) = scanned(source);
            assert!(rows.is_empty());
            assert_eq!(faults.len(), 1, "{source}");
        }
        assert_eq!(scanned("// v5: MQTT-3.1.2-22\n#[test]\nfn a() {"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn statements_that_the_standard_does_not_have_are_refused() {
        for list in [
            "MQTT-3.1.2-31",
            "MQTT-3.1.2-0",
            "MQTT-2.2.1-1",
            "MQTT-3.99.2-1",
            "3.1.2-22",
            "MQTT-3.1.2-22 MQTT-3.1.2-3",
            "",
        ] {
            let (rows, faults) = scanned(&format!("/// v5: {list}\n#[test]\nfn a() {{"));
            assert!(rows.is_empty(), "{list}");
            assert_eq!(faults.len(), 1, "{list}: {faults:?}");
        }
    }
}
