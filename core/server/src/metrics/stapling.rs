//! What is stapled, and how it is come by.

use super::Metrics;
use super::families::{Families, Family, Kind, Labels, Sample, Value, and, of_bundle, of_door};
use crate::stapling::{Status, Subject};

impl Metrics {
    pub(super) fn stapling(&self, families: &mut Families) {
        let mut subjects = Vec::new();
        for door in &self.doors {
            let policy = door.policy();
            for subject in policy.tls().into_iter().flat_map(|tls| &tls.stapling) {
                subjects.push((and(of_door(door), of_bundle(subject.bundle.name())), subject.clone()));
            }
        }
        let each = |of: fn(&Subject) -> u64| subjects.iter().map(move |(labels, one)| (labels.clone(), of(one)));
        let help = "Whether an OCSP response is stapled now to handshakes with a bundle.";
        families.gauge("postern_ocsp_stapled", help, each(|one| u64::from(one.stapled_until().is_some())));
        let ends = subjects.iter().filter_map(|(labels, one)| {
            #[expect(clippy::cast_precision_loss, reason = "dates are far below 2^53 seconds")]
            Some(Sample { labels: labels.clone(), value: Value::Number(one.stapled_until()? as f64) })
        });
        let samples = ends.collect();
        families.0.push(Family {
            name: "postern_ocsp_staple_end_timestamp_seconds",
            help: "End of the stapled response in seconds since the Unix epoch.",
            kind: Kind::Gauge,
            samples,
        });
        let status = subjects.iter().flat_map(|(labels, one)| {
            let now = one.status();
            Status::ALL.map(|status| (with(labels, "status", status.word()), u64::from(status == now)))
        });
        let help = "1 for how it is with the responses of a bundle, 0 for how it is not.";
        families.gauge("postern_ocsp_status", help, status);
        let help = "Questions to OCSP responders.";
        families.counter("postern_ocsp_fetches_total", help, each(Subject::fetches_total));
        let failures = subjects.iter().flat_map(|(labels, one)| {
            one.failures_total().map(|(reason, count)| (with(labels, "reason", reason), count))
        });
        let help = "Questions to OCSP responders without a usable answer, by reason.";
        families.counter("postern_ocsp_failures_total", help, failures);
    }
}

fn with(labels: &Labels, key: &'static str, word: &str) -> Labels {
    and(labels.clone(), [(key, word.to_owned())])
}
