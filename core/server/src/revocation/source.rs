//! One place where revocation lists come from, and what it said last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use postern_tls::RevocationList;
use postern_tls::crl::MAX_CRL_BYTES;

use super::directory::WatchedDirectory;
use super::file::{Look, WatchedFile, read_lists};
use crate::fetch::{self, Bounds, FetchError, Question};
use crate::pace;

/// Most lists that are held of one address, while a new one is not known to stand for the one before.
const MAX_HELD: usize = 512;

/// Where lists come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Directory(PathBuf),
    Url(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A place that is looked at again and again.
pub(crate) struct Source {
    place: Place,
    refresh: Duration,
    timeout: Duration,
    /// What it said last. Who reads it waits for nobody.
    lists: ArcSwap<Vec<Arc<RevocationList>>>,
    state: Mutex<State>,
    /// Grows when the lists change.
    version: AtomicU64,
    /// Fetches without a usable answer, and files that were found bad.
    failures: AtomicU64,
}

struct State {
    kept: Kept,
    /// As the log was told.
    trouble: Option<String>,
}

enum Kept {
    File(WatchedFile),
    Directory(WatchedDirectory),
    /// When it is asked again, and how often it has failed since it last answered.
    Url {
        due: Instant,
        failures: u32,
        is_asked: bool,
    },
}

/// For metrics.
pub(crate) struct Figures {
    pub(crate) lists: u64,
    pub(crate) entries: u64,
    /// Of the oldest list, in seconds since the Unix epoch; none without a list.
    pub(crate) this_update: Option<i64>,
    /// Of the list that ends first, in seconds since the Unix epoch; none without a list.
    pub(crate) next_update: Option<i64>,
    pub(crate) failures: u64,
}

impl Kept {
    /// The lists of files; none where they come from an address.
    fn of_files(&self) -> Option<Vec<Arc<RevocationList>>> {
        match self {
            Self::File(file) => Some(file.lists().to_vec()),
            Self::Directory(directory) => Some(directory.lists().cloned().collect()),
            Self::Url { .. } => None,
        }
    }
}

impl Source {
    /// Nothing is read yet.
    pub(super) fn new(place: Place, refresh: Duration, timeout: Duration) -> Self {
        let kept = match &place {
            Place::File(_) => Kept::File(WatchedFile::default()),
            Place::Directory(_) => Kept::Directory(WatchedDirectory::default()),
            Place::Url(_) => Kept::Url { due: Instant::now(), failures: 0, is_asked: false },
        };
        let state = Mutex::new(State { kept, trouble: None });
        Self {
            place,
            refresh,
            timeout,
            lists: ArcSwap::default(),
            state,
            version: AtomicU64::new(1),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn is(&self, place: &Place, refresh: Duration, timeout: Duration) -> bool {
        self.place == *place && ((self.refresh, self.timeout) == (refresh, timeout) || !matches!(place, Place::Url(_)))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows when the lists change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What it said last.
    pub(super) fn lists(&self) -> Arc<Vec<Arc<RevocationList>>> {
        self.lists.load_full()
    }

    fn say(&self, lists: Vec<Arc<RevocationList>>) {
        self.lists.store(Arc::new(lists));
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn figures(&self) -> Figures {
        let lists = self.lists();
        let lists: Vec<&Arc<RevocationList>> = lists.iter().filter(|list| is_newest(list, &lists)).collect();
        Figures {
            lists: lists.len() as u64,
            entries: lists.iter().map(|list| list.entries() as u64).sum(),
            this_update: lists.iter().map(|list| list.this_update()).min(),
            next_update: lists.iter().map(|list| list.next_update()).min(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// What the other one says, until it is asked itself.
    pub(super) fn begin_with(&self, other: &Self) {
        self.say(other.lists().to_vec());
    }

    /// The first look at a file or a directory: what is wrong with a part of it, or with all of it. An address is not
    /// asked.
    pub(super) fn begin(&self, now_unix_s: i64) -> Result<Vec<String>, String> {
        let mut state = self.state();
        let troubles: Vec<String> = match (&mut state.kept, &self.place) {
            (Kept::File(file), Place::File(path)) => {
                file.look(path, Look::First);
                file.trouble().map(str::to_owned).into_iter().collect()
            }
            (Kept::Directory(directory), Place::Directory(path)) => {
                directory.look(path, Look::First);
                directory.troubles()
            }
            _ => return Ok(Vec::new()),
        };
        state.trouble = joined(&troubles);
        if let Some(lists) = state.kept.of_files().filter(|lists| *lists != *self.lists()) {
            self.say(lists);
        }
        let lists = self.lists();
        let is_gone = matches!(&state.kept, Kept::File(file) if file.is_gone());
        if lists.is_empty() || is_gone {
            return Err(troubles.join("; "));
        }
        let mut doubts = troubles;
        doubts.extend(
            lists
                .iter()
                .filter(|list| list.next_update() <= now_unix_s && is_newest(list, &lists))
                .map(|list| format!("{}: the list of {} is outdated", self.place, list.issuer_dn())),
        );
        Ok(doubts)
    }

    /// Looks again at a file or a directory.
    pub(super) fn look(&self) {
        let mut state = self.state();
        let (is_new, troubles) = match (&mut state.kept, &self.place) {
            (Kept::File(file), Place::File(path)) => {
                (file.look(path, Look::Again), file.trouble().map(str::to_owned).into_iter().collect())
            }
            (Kept::Directory(directory), Place::Directory(path)) => {
                (directory.look(path, Look::Again), directory.troubles())
            }
            _ => return,
        };
        let new = state.kept.of_files().filter(|_| is_new);
        self.now(&mut state, new, &troubles);
    }

    /// One line for each change.
    fn now(&self, state: &mut State, new: Option<Vec<Arc<RevocationList>>>, troubles: &[String]) {
        let trouble = joined(troubles);
        let source = self.place.to_string();
        match &trouble {
            Some(why) if state.trouble != trouble => {
                if !matches!(state.kept, Kept::Url { .. }) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
                tracing::error!(
                    source,
                    why,
                    "revocation lists cannot be renewed; what they said last counts until it is outdated"
                );
            }
            None if state.trouble.is_some() => tracing::info!(source, "revocation lists can be renewed again"),
            _ => {}
        }
        state.trouble = trouble;
        if let Some(lists) = new {
            let entries: usize = lists.iter().map(|list| list.entries()).sum();
            tracing::info!(source, lists = lists.len(), entries, "revocation lists are renewed");
            self.say(lists);
        }
    }

    /// Whether it is an address whose turn has come. Whoever hears yes must ask it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &mut self.state().kept {
            Kept::Url { due, is_asked, .. } if !*is_asked && now >= *due => {
                *is_asked = true;
                true
            }
            _ => false,
        }
    }

    /// Asks an address once.
    pub(super) async fn fetch(self: Arc<Self>, now_unix_s: i64) {
        let Place::Url(url) = &self.place else { return };
        let question = Question { url, body: None, accept: "application/pkix-crl, application/x-pem-file, */*" };
        let answer = fetch::fetch(question, Bounds { timeout: self.timeout, bytes: MAX_CRL_BYTES }).await;
        let taken = Arc::clone(&self);
        // Large lists take their time, and verifying them does too.
        let done = tokio::task::spawn_blocking(move || taken.answered(answer.map(Vec::from), now_unix_s)).await;
        if done.is_err() {
            self.answered(Err(FetchError::Broken("it cannot be read".to_owned())), now_unix_s);
        }
    }

    fn answered(&self, answer: Result<Vec<u8>, FetchError>, now_unix_s: i64) {
        let held = self.lists();
        let read = answer.map_err(|error| error.to_string()).and_then(read_lists);
        let merged = read.and_then(|(new, doubts)| Ok((merge(&held, new, now_unix_s)?, doubts)));
        let mut state = self.state();
        let Kept::Url { due, failures, is_asked } = &mut state.kept else { return };
        *is_asked = false;
        let (new, troubles) = match merged {
            Ok((lists, doubts)) => {
                let ends = lists.iter().map(|list| list.next_update()).min().unwrap_or(now_unix_s);
                *failures = 0;
                *due = Instant::now() + pace::after_answer(self.refresh, ends - now_unix_s);
                (Some(lists).filter(|lists| *lists != *held), doubts)
            }
            Err(why) => {
                *failures = failures.saturating_add(1);
                *due = Instant::now() + pace::after_failure(self.refresh, *failures);
                self.failures.fetch_add(1, Ordering::Relaxed);
                (None, vec![why])
            }
        };
        self.now(&mut state, new, &troubles);
    }
}

fn joined(troubles: &[String]) -> Option<String> {
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// Whether no other list there is newer and speaks of the same.
pub(super) fn is_newest(list: &Arc<RevocationList>, all: &[Arc<RevocationList>]) -> bool {
    !all.iter().any(|other| other.this_update() > list.this_update() && other.is_of_the_same(list))
}

/// What an address says now. Anyone on the way to it may answer in its place: with an old list, which is not taken where
/// the signature of the one that is held is known to be good; or with a forged one, which does not push out one that is.
fn merge(
    held: &[Arc<RevocationList>],
    new: Vec<Arc<RevocationList>>,
    now_unix_s: i64,
) -> Result<Vec<Arc<RevocationList>>, String> {
    for list in &new {
        let stands_for = |other: &&Arc<RevocationList>| list.is_of_the_same(other) && list.is_signed_as(other);
        if let Some(other) = held.iter().filter(|other| other.is_proven()).find(stands_for)
            && list.this_update() < other.this_update()
        {
            return Err(format!("the list of {} is older than the last one from there", list.issuer_dn()));
        }
        if list.next_update() <= now_unix_s {
            return Err(format!("the list of {} is outdated", list.issuer_dn()));
        }
    }
    let is_kept = |other: &&Arc<RevocationList>| {
        other.is_proven()
            && other.next_update() > now_unix_s
            && new.iter().any(|list| list.is_of_the_same(other) && !list.is_signed_as(other))
    };
    let kept: Vec<_> = held.iter().filter(is_kept).take(MAX_HELD - new.len().min(MAX_HELD)).cloned().collect();
    Ok(new.into_iter().chain(kept).collect())
}
