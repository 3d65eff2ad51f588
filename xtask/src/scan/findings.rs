//! What testssl.sh found, out of its flat JSON report.

use std::fmt;

use serde_json::Value;

/// One line of the report.
#[derive(Debug)]
pub(super) struct Finding {
    id: String,
    severity: String,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.id, self.text)
    }
}

/// What the report calls good or neutral.
const FINE: [&str; 3] = ["OK", "INFO", "DEBUG"];

/// These speak of the machine that looks, and of the name `localhost`, and not of the listener.
const NOT_OF_THE_LISTENER: [&str; 2] = ["engine_problem", "DNS_CAArecord"];

/// Fewer findings than these are no look at a listener at all.
const FEWEST: usize = 40;

/// All of them.
pub(super) fn read(report: &str) -> Result<Vec<Finding>, String> {
    let value: Value = serde_json::from_str(report).map_err(|error| error.to_string())?;
    let of = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().map(str::to_owned);
        Some(Finding { id: text("id")?, severity: text("severity")?, text: text("finding").unwrap_or_default() })
    };
    let found: Vec<Finding> = value.as_array().into_iter().flatten().filter_map(of).collect();
    if found.len() < FEWEST {
        return Err(format!("it has {} findings, and not even {FEWEST}", found.len()));
    }
    Ok(found)
}

/// Those that are a weakness of the listener.
pub(super) fn weak(found: &[Finding]) -> impl Iterator<Item = &Finding> {
    let fine = |finding: &&Finding| {
        FINE.contains(&finding.severity.as_str()) || NOT_OF_THE_LISTENER.contains(&finding.id.as_str())
    };
    found.iter().filter(move |finding| !fine(finding))
}

/// In one line.
pub(super) fn summary(found: &[Finding]) -> String {
    let good = found.iter().filter(|finding| finding.severity == "OK").count();
    format!("{} findings, {good} good, {} weak", found.len(), weak(found).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(severity: &str) -> String {
        let entry = |id: &str, severity: &str| format!(r#"{{"id":"{id}","severity":"{severity}","finding":"x"}}"#);
        let mut entries = vec![entry("SSLv2", "OK"); 50];
        entries.push(entry("DNS_CAArecord", "LOW"));
        entries.push(entry("RC4", severity));
        format!("[{}]", entries.join(","))
    }

    #[test]
    fn what_is_not_fine_is_weak() {
        for (severity, count) in [("OK", 0), ("INFO", 0), ("LOW", 1), ("HIGH", 1), ("CRITICAL", 1), ("WARN", 1)] {
            let found = read(&report(severity)).unwrap_or_default();
            assert_eq!((found.len(), weak(&found).count()), (52, count), "{severity}");
        }
    }

    #[test]
    fn a_report_that_says_next_to_nothing_is_none() {
        assert!(read("[]").is_err());
        assert!(read("not JSON").is_err());
    }
}
