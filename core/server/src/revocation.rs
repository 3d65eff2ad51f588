//! The revocation lists of listeners: where they come from, and that they stay up to date.
//!
//! A handshake finds the lists in memory or is refused; nothing is read or fetched for it. Files are looked at again and
//! again, since a rotation is a file that changed, and addresses are asked at their intervals. Whatever goes wrong with a
//! source, what it said last stays in force until that is outdated, and the log tells of it once.

mod directory;
mod file;
mod source;
mod standing;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_config::{Crl, CrlCache, Listener, OutdatedCrl, Problem, Spanned};
use postern_identity::ListenerId;
use postern_tls::{Keyring, Outdated, Revocation};

use crate::fetch;
use crate::policy::ListenerPolicy;
pub(crate) use source::{Figures, Place, Source};
use standing::Standings;
use watch::each_once;
pub(crate) use watch::keep_up;

/// Most client CAs of a listener of which it is told that there is no list of them.
const MAX_UNCOVERED_TOLD: usize = 8;

/// What a listener judges client certificates by, and where it comes from.
pub(crate) struct Lists {
    listener: ListenerId,
    handle: Arc<Revocation>,
    /// In the order of the configuration.
    sources: Vec<Arc<Source>>,
    /// Versions of the sources that the handle has, and its revision then.
    taken: Mutex<(Vec<u64>, u64)>,
    standings: Mutex<Standings>,
}

impl Lists {
    /// For the listener's TLS settings.
    pub(crate) fn handle(&self) -> &Arc<Revocation> {
        &self.handle
    }

    pub(crate) fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// Expects lists of the client CAs of these bundles.
    pub(crate) fn expect_issuers(&self, keyring: &Keyring) {
        for bundle in keyring.bundles() {
            self.handle.expect_issuers(bundle);
        }
    }

    /// Judges by what the sources say now; true if that has changed. Can take some 100 ms for large lists.
    pub(crate) fn take(&self) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<u64> = self.sources.iter().map(|source| source.version()).collect();
        // Who served by the handle before may have been in the middle of this when its time was over.
        let is_changed = *taken != (now.clone(), self.handle.revision());
        if is_changed {
            let lists = self.sources.iter().flat_map(|source| source.lists().to_vec());
            *taken = (now, self.handle.replace(lists.collect()));
        }
        is_changed
    }

    /// Tells of lists that are outdated, or no longer.
    fn look_at_the_clock(&self, now_unix_s: i64) {
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        standings.look(&self.listener, &self.sources, self.handle.outdated(), now_unix_s);
    }
}

/// The sources that are open: each once, however many listeners name it, and for as long as one of them does.
pub(crate) struct Opened {
    cache: CrlCache,
    now_unix_s: i64,
    sources: Vec<Arc<Source>>,
}

impl Opened {
    /// `serving` is what listeners serve by: a new configuration goes on with the sources that it has in common, and
    /// so with what was fetched.
    pub(crate) fn new(cache: CrlCache, now_unix_s: i64, serving: &[Arc<ListenerPolicy>]) -> Self {
        let all = serving.iter().filter_map(|policy| policy.tls().and_then(|tls| tls.lists.clone()));
        Self { cache, now_unix_s, sources: each_once(&all.collect::<Vec<_>>()) }
    }

    /// Reads the lists of a listener. Addresses are left to [`keep_up`]. `before` is what it judges by now: it goes on
    /// with it where it can, so that whoever asks it need not know of a new configuration.
    pub(crate) async fn of_listener(
        &mut self,
        listener: &Listener,
        crl: &Crl,
        (keyring, before): (&Keyring, Option<&Arc<Revocation>>),
        warnings: &mut Vec<Problem>,
    ) -> Result<Arc<Lists>, Vec<Problem>> {
        let path = format!("listeners.{}.{}.ssl_options.crl", listener.kind.word(), listener.name);
        let refresh = crl.refresh_interval.unwrap_or(self.cache.refresh_interval);
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        for (place, spanned_at, path) in places(crl, &path) {
            let fail = |text, hint| Problem { path: path.clone(), at: spanned_at.clone(), text, hint };
            match self.open(place, refresh).await {
                Ok((source, doubts)) => {
                    sources.push(source);
                    warnings.extend(doubts.into_iter().map(|text| fail(text, None)));
                }
                Err(text) => problems.push(fail(text, Some("no client could be let in by it".to_owned()))),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if crl.urls.is_empty() {
            let text = |fault| format!("{fault}: clients that it issued will be refused");
            let faults = uncovered(keyring, &sources).into_iter();
            warnings.extend(faults.map(|fault| Problem {
                path: path.clone(),
                at: crl.at.clone(),
                text: text(fault),
                hint: None,
            }));
        }
        let outdated = match crl.outdated {
            OutdatedCrl::Refuse => Outdated::Refuse,
            OutdatedCrl::Grace(grace) => Outdated::Grace(grace),
        };
        let handle = before.filter(|before| before.outdated() == outdated).cloned();
        let handle = handle.unwrap_or_else(|| Arc::new(Revocation::new(outdated)));
        let (taken, standings) = (Mutex::default(), Mutex::default());
        let lists = Lists { listener: listener.id.clone(), handle, sources, taken, standings };
        lists.expect_issuers(keyring);
        Ok(Arc::new(lists))
    }

    /// The source, with what is wrong about parts of it; or what is wrong with all of it.
    async fn open(&mut self, place: Place, refresh: Duration) -> Result<(Arc<Source>, Vec<String>), String> {
        if let Place::Url(url) = &place
            && !fetch::is_fetchable(url)
        {
            return Err(format!("{url} is no address that can be fetched"));
        }
        let timeout = self.cache.http_timeout;
        let known = self.sources.iter().find(|source| source.is(&place, refresh, timeout)).cloned();
        let source = known.unwrap_or_else(|| {
            let source = Source::new(place, refresh, timeout);
            // Asked at other intervals from now on; it need not begin with nothing.
            if let Some(same) = self.sources.iter().find(|other| other.place() == source.place()) {
                source.begin_with(same);
            }
            Arc::new(source)
        });
        let (read, now_unix_s) = (Arc::clone(&source), self.now_unix_s);
        let doubts = tokio::task::spawn_blocking(move || read.begin(now_unix_s))
            .await
            .map_err(|_| "the reading of it broke off".to_owned())??;
        if !self.sources.iter().any(|known| Arc::ptr_eq(known, &source)) {
            self.sources.push(Arc::clone(&source));
        }
        Ok((source, doubts))
    }
}

/// The client CAs that files and directories leave out, some of them.
fn uncovered(keyring: &Keyring, sources: &[Arc<Source>]) -> BTreeSet<String> {
    let lists: Vec<_> = sources.iter().flat_map(|source| source.lists().to_vec()).collect();
    let faults = keyring.bundles().flat_map(|bundle| postern_tls::crl::uncovered(bundle, &lists));
    faults.map(|fault| fault.to_string()).take(MAX_UNCOVERED_TOLD).collect()
}

/// All that a listener names, each with its place and its path in the configuration.
fn places<'c>(crl: &'c Crl, path: &'c str) -> impl Iterator<Item = (Place, &'c postern_config::Origin, String)> {
    let of_paths = |key: &'static str, all: &'c [Spanned<PathBuf>], of: fn(PathBuf) -> Place| {
        all.iter().enumerate().map(move |(i, one)| (of(one.value.clone()), &one.at, format!("{path}.{key}[{i}]")))
    };
    let urls = crl.urls.iter().enumerate();
    let urls = urls.map(move |(i, url)| (Place::Url(url.value.clone()), &url.at, format!("{path}.urls[{i}]")));
    of_paths("files", &crl.files, Place::File)
        .chain(of_paths("directories", &crl.directories, Place::Directory))
        .chain(urls)
}
