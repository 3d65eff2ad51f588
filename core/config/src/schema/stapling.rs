//! `ssl_options.ocsp`: OCSP responses that are stapled to handshakes.

use std::time::Duration;

use crate::model::Stapling;
use crate::problem::Spanned;
use crate::reader::{Item, Reader, shown};
use crate::reference;

/// Responders are spared: EMQX allows no shorter one either. The longest is a week, after which nothing is fresh.
const REFRESH_RANGE: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(168));
const REFRESH: Duration = Duration::from_mins(5);
/// How long one answer may take.
const HTTP_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));
const HTTP_TIMEOUT: Duration = Duration::from_secs(15);

/// None where stapling is off.
pub(super) fn stapling(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Stapling> {
    let mut section = reader.section(item)?.described(&reference::OCSP);
    let switch = section.take("enable_ocsp_stapling");
    let enabled = switch.as_ref().and_then(|item| reader.boolean(item)).unwrap_or(false);
    let responder_url = section.take("responder_url").and_then(|item| address(reader, &item));
    let issuer_pem = section.take("issuer_pem").and_then(|item| super::tls::pem(reader, &item));
    let (least, most) = REFRESH_RANGE;
    let refresh = section.take("refresh_interval").and_then(|item| reader.duration(&item, least, most));
    let (least, most) = HTTP_RANGE;
    let timeout = section.take("refresh_http_timeout").and_then(|item| reader.duration(&item, least, most));
    reader.finish(&section, &[]);
    enabled.then(|| Stapling {
        at: reader.origin(item.key_at),
        responder_url,
        issuer_pem,
        refresh_interval: refresh.unwrap_or(REFRESH),
        http_timeout: timeout.unwrap_or(HTTP_TIMEOUT),
    })
}

fn address(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<String>> {
    let text = reader.text(item)?;
    if text.is_empty() {
        return None;
    }
    let host = text.strip_prefix("http://").and_then(|rest| rest.split(['/', ':', '?', '#']).next());
    if host.is_none_or(str::is_empty) || text.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control()) {
        let text = format!("{} is not an address of the form `http://HOST/PATH`", shown(&text));
        let hint = "responses are signed, and responders are asked without TLS (RFC 6960, appendix A)";
        reader.wrong(item, text, Some(hint));
        return None;
    }
    Some(Spanned { value: text, at: reader.origin(item.node.at) })
}
