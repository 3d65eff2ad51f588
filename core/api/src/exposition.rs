//! Prometheus' text format, version 0.0.4, which every scraper reads without being asked.
//!
//! The crates that write it keep counters of their own, or write `OpenMetrics`, whose names of counters older readers take
//! for others. What is written here is what the broker counts already, and the format is two escapes and a line for each
//! value.

use std::fmt::Write;

use postern_server::metrics::{Family, Kind, Sample, Value};

/// What the answer is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families as text.
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", family.name, escaped(family.help, false), family.name);
        for sample in &family.samples {
            show(&mut text, family.name, sample);
        }
    }
    text
}

fn show(text: &mut String, name: &str, sample: &Sample) {
    match &sample.value {
        Value::Count(count) => line(text, name, "", &sample.labels, None, count),
        Value::Number(number) => line(text, name, "", &sample.labels, None, number),
        Value::Histogram(within, above, sum) => {
            let mut count = 0;
            for (bound, between) in within {
                count += between;
                line(text, name, "_bucket", &sample.labels, Some(&bound.to_string()), &count);
            }
            count += above;
            line(text, name, "_bucket", &sample.labels, Some("+Inf"), &count);
            line(text, name, "_sum", &sample.labels, None, sum);
            line(text, name, "_count", &sample.labels, None, &count);
        }
    }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&'static str, String)],
    bound: Option<&str>,
    value: &dyn std::fmt::Display,
) {
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(bound.map(|bound| ("le", bound)));
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{suffix}{labels} {value}");
}

fn escaped(text: &str, quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: &[(&'static str, &str)], value: Value) -> Sample {
        Sample { labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), value }
    }

    #[test]
    fn families_are_written_with_help_type_and_a_line_for_each_value() {
        let families = [
            Family {
                name: "postern_a_total",
                help: "What is counted.",
                kind: Kind::Counter,
                samples: vec![
                    sample(&[("listener", "ssl:default"), ("reason", "x")], Value::Count(u64::MAX)),
                    sample(&[], Value::Count(0)),
                ],
            },
            Family {
                name: "postern_b_seconds",
                help: "A \\ and\na line.",
                kind: Kind::Gauge,
                samples: vec![sample(&[], Value::Number(1.5))],
            },
        ];
        let expect = "# HELP postern_a_total What is counted.\n\
                      # TYPE postern_a_total counter\n\
                      postern_a_total{listener=\"ssl:default\",reason=\"x\"} 18446744073709551615\n\
                      postern_a_total 0\n\
                      # HELP postern_b_seconds A \\\\ and\\na line.\n\
                      # TYPE postern_b_seconds gauge\n\
                      postern_b_seconds 1.5\n";
        assert_eq!(render(&families), expect);
    }

    #[test]
    fn buckets_of_a_histogram_add_up_to_its_count() {
        let value = Value::Histogram(vec![(0.001, 2), (0.25, 3)], 1, 0.75);
        let samples = vec![sample(&[("plugin", "p")], value)];
        let family = Family { name: "postern_c_seconds", help: "C.", kind: Kind::Histogram, samples };
        let text = render(&[family]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expect = [
            "postern_c_seconds_bucket{plugin=\"p\",le=\"0.001\"} 2",
            "postern_c_seconds_bucket{plugin=\"p\",le=\"0.25\"} 5",
            "postern_c_seconds_bucket{plugin=\"p\",le=\"+Inf\"} 6",
            "postern_c_seconds_sum{plugin=\"p\"} 0.75",
            "postern_c_seconds_count{plugin=\"p\"} 6",
        ];
        assert_eq!(lines, expect);
    }

    #[test]
    fn a_value_of_a_label_cannot_leave_its_place() {
        let labels = [("namespace", "a\"} 1\nforged 2 \\")];
        let samples = vec![sample(&labels, Value::Count(7))];
        let text = render(&[Family { name: "x", help: "X.", kind: Kind::Gauge, samples }]);
        assert_eq!(text.lines().nth(2), Some("x{namespace=\"a\\\"} 1\\nforged 2 \\\\\"} 7"));
        assert_eq!(text.lines().count(), 3);
    }
}
