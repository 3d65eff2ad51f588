//! `enable_crl_check` and `crl` of `ssl_options`, and `crl_cache`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::emqx;
use crate::model::{ClientAuth, Listener};
use crate::problem::{Problem, Spanned};
use crate::reader::{Item, Reader, Section, shown};
use crate::reference;
use crate::revocation::{Crl, CrlCache, OutdatedCrl};
use crate::value::Value;

/// As in EMQX, a minute is the shortest; a list that changes less than once a week is a file.
const INTERVALS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(7 * 24));
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(5));
const GRACES: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(365 * 24));
/// Most files, directories and addresses of one listener, each.
const MAX_SOURCES: usize = 256;
/// Most addresses of all listeners that may be asked for.
const MAX_CAPACITY: u64 = 10_000;
/// Longest address, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// What the listener checks revocation by; none where it does not.
pub(super) fn crl(reader: &mut Reader<'_>, section: &mut Section<'_>, auth: ClientAuth) -> Option<Crl> {
    let switch = section.take("enable_crl_check");
    let sources = section.take("crl");
    let is_on = switch.as_ref().and_then(|item| reader.boolean(item)).unwrap_or(false);
    let found = reader.problems.len();
    let read = sources.as_ref().and_then(|item| read(reader, item));
    let Some(switch) = switch.filter(|_| is_on) else {
        if let Some(item) = sources {
            let text = "has no effect: `enable_crl_check` is off";
            reader.warn(item.key_at, &item.path, text, Some("add `enable_crl_check = true`"));
        }
        return None;
    };
    if auth == ClientAuth::Off {
        let text = "needs `verify = verify_peer`: clients are not asked for certificates that could be revoked";
        reader.wrong(&switch, text, None);
    }
    let crl = Crl { at: reader.origin(switch.key_at), ..read.unwrap_or_else(|| empty(reader, &switch)) };
    let nothing = crl.files.is_empty() && crl.directories.is_empty() && crl.urls.is_empty();
    if nothing && reader.problems.len() == found {
        let text = "there is no list to check by, so that nobody could be let in";
        let hint = "name some: `crl { files = [\"crl.pem\"] }`, or `directories`, or `urls`; no address is taken from \
                    a certificate";
        reader.wrong(&switch, text, Some(hint));
    }
    Some(crl)
}

fn empty(reader: &Reader<'_>, switch: &Item<'_>) -> Crl {
    Crl {
        at: reader.origin(switch.key_at),
        files: Vec::new(),
        directories: Vec::new(),
        urls: Vec::new(),
        refresh_interval: None,
        outdated: OutdatedCrl::default(),
    }
}

fn read(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Crl> {
    let mut section = reader.section(item)?.described(&reference::CRL);
    let mut crl = empty(reader, item);
    if let Some(item) = section.take("files") {
        crl.files = each(reader, &item, super::path);
    }
    if let Some(item) = section.take("directories") {
        crl.directories = each(reader, &item, super::path);
    }
    if let Some(item) = section.take("urls") {
        crl.urls = each(reader, &item, url);
    }
    crl.refresh_interval =
        section.take("refresh_interval").and_then(|item| reader.duration(&item, INTERVALS.0, INTERVALS.1));
    if let Some(outdated) = section.take("outdated").and_then(|item| outdated(reader, &item)) {
        crl.outdated = outdated;
    }
    reader.finish(&section, &[]);
    Some(crl)
}

/// A list, with where each of its values was written.
fn each<T>(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    one: impl Fn(&mut Reader<'_>, &Item<'_>) -> Option<T>,
) -> Vec<Spanned<T>> {
    let items = reader.list(item).unwrap_or_default();
    if items.len() > MAX_SOURCES {
        reader.wrong(item, format!("{} entries, at most {MAX_SOURCES} are taken", items.len()), None);
        return Vec::new();
    }
    items
        .iter()
        .filter_map(|item| one(reader, item).map(|value| Spanned { value, at: reader.origin(item.node.at) }))
        .collect()
}

/// An address under `http://`.
fn url(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let Some(rest) = text.strip_prefix("http://") else {
        let hint = "write an `http://` address; a list is signed, so that nobody can change it on its way";
        reader.wrong(item, format!("{} cannot be fetched", shown(&text)), Some(hint));
        return None;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = text.len() <= MAX_URL_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    // A password would stand in logs and metrics.
    if host.is_empty() || host.contains('@') || !plain {
        let hint = "write it as `http://HOST/PATH` or `http://HOST:PORT/PATH`, without a user name";
        reader.wrong(item, format!("{} is no address of a list", shown(&text)), Some(hint));
        return None;
    }
    Some(text)
}

fn outdated(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<OutdatedCrl> {
    if !matches!(item.node.value, Value::Object(_)) {
        return reader.word(item, &[("refuse", OutdatedCrl::Refuse)]);
    }
    let mut section = reader.section(item)?;
    let grace = section.take("grace");
    if grace.is_none() && !section.misspelt(&["grace"]) {
        reader.wrong(item, "`grace` is missing", Some("write `{ grace = 12h }`, or `refuse`"));
    }
    let grace = grace.and_then(|item| reader.duration(&item, GRACES.0, GRACES.1));
    reader.finish(&section, &[]);
    grace.map(OutdatedCrl::Grace)
}

pub(super) fn cache(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<CrlCache> {
    let mut section = reader.section(item)?;
    let mut cache = CrlCache::default();
    let mut duration = |key, (least, most)| section.take(key).and_then(|item| reader.duration(&item, least, most));
    if let Some(interval) = duration("refresh_interval", INTERVALS) {
        cache.refresh_interval = interval;
    }
    if let Some(timeout) = duration("http_timeout", TIMEOUTS) {
        cache.http_timeout = timeout;
    }
    if let Some(capacity) = section.take("capacity").and_then(|item| reader.integer(&item, 1, MAX_CAPACITY)) {
        cache.capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    }
    reader.finish(&section, emqx::CRL_CACHE);
    Some(cache)
}

/// All listeners together may not name more addresses than `crl_cache` has room for.
pub(super) fn check_capacity(reader: &mut Reader<'_>, cache: CrlCache, listeners: &[Listener]) {
    let mut seen = BTreeSet::new();
    for listener in listeners {
        let urls = listener.tls.iter().filter_map(|tls| tls.crl.as_ref()).flat_map(|crl| &crl.urls);
        for url in urls {
            if seen.insert(&url.value) && seen.len() == cache.capacity + 1 {
                reader.problems.push(Problem {
                    path: format!("listeners.{}.{}.ssl_options.crl.urls", listener.kind.word(), listener.name),
                    at: url.at.clone(),
                    text: format!("all listeners together name more than {} addresses of lists", cache.capacity),
                    hint: Some("raise `crl_cache.capacity`".to_owned()),
                });
            }
        }
    }
}
