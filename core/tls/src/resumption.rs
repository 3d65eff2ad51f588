//! What lets a client come back with a shorter handshake: tickets that it keeps itself, and sessions kept here.
//!
//! Both belong to the settings for which they were made, that is to one generation of a bundle, on one listener, under
//! one strictness towards clients: each has ticket keys of its own, and session identifiers of another are unknown to it.
//! What does not fit means a full handshake. rustls resumes under the server name alone that the session began with, and
//! carries the client's certificate along, which is judged again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions};
use rustls::time_provider::TimeProvider;

/// Longest content of a ticket or of a kept session, in bytes: mostly the client's certificates, of which rustls takes
/// up to 64 KiB. One with more gets none.
const SESSION_BYTES_MAX: usize = 8 * 1024;

/// Sessions that one listener keeps, the oldest of which makes room for a new one: 32 MiB at most, and a tenth of that with
/// ordinary certificates. EMQX keeps 1000 in a node.
const SESSIONS_MAX: usize = 4096;

/// What of a session may be resumed. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumption {
    /// How many tickets a client is given after a handshake of TLS 1.3 (RFC 8446, section 4.6.1); one in TLS 1.2
    /// (RFC 5077). 0: no tickets.
    pub tickets: u8,
    /// Sessions of TLS 1.2 are kept here, to be resumed by their identifier (RFC 5246, section 7.4.1.2).
    pub session_ids: bool,
    /// How long a session can be resumed, at most [`Resumption::MAX_LIFETIME`].
    pub lifetime: Duration,
}

impl Resumption {
    /// Ticket keys are replaced that often, and die as long after that.
    pub const MAX_LIFETIME: Duration = Duration::from_hours(6);

    fn lifetime_s(&self) -> u32 {
        let seconds = self.lifetime.min(Self::MAX_LIFETIME).as_secs();
        u32::try_from(seconds).expect("six hours are within 32 bits")
    }
}

impl Default for Resumption {
    fn default() -> Self {
        Self { tickets: 0, session_ids: false, lifetime: Duration::from_hours(2) }
    }
}

/// The sessions that one listener can resume.
#[derive(Debug)]
pub(crate) struct Sessions {
    resumption: Resumption,
    clock: Arc<dyn TimeProvider>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the settings for which the session was made, and its identifier.
    sessions: HashMap<SessionKey, Session>,
    /// The oldest first; the same keys as in `sessions`.
    order: VecDeque<SessionKey>,
}

type SessionKey = (u64, Vec<u8>);

struct Session {
    ends_unix_s: u64,
    /// Has the master secret.
    content: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(crate) fn new(resumption: Resumption, clock: Arc<dyn TimeProvider>) -> Arc<Self> {
        Arc::new(Self { resumption, clock, kept: Mutex::default() })
    }

    /// Lets sessions of these settings be resumed, by these settings alone. `of` tells them from all others of the listener.
    pub(crate) fn allow_in(self: &Arc<Self>, config: &mut ServerConfig, of: u64) -> Result<(), rustls::Error> {
        // 0-RTT data can be replayed; a CONNECT must not be.
        config.max_early_data_size = 0;
        config.send_tls13_tickets = usize::from(self.resumption.tickets);
        if self.resumption.tickets > 0 {
            let sealed = Ticketer::new()?;
            let lifetime_s = self.resumption.lifetime_s();
            config.ticketer = Arc::new(DatedTickets { sealed, lifetime_s, clock: Arc::clone(&self.clock) });
        }
        config.session_storage = if self.resumption.session_ids {
            Arc::new(OwnSessions { of, all: Arc::clone(self) })
        } else {
            Arc::new(NoServerSessionStorage {})
        };
        Ok(())
    }

    fn now_unix_s(&self) -> Option<u64> {
        self.clock.current_time().map(|now| now.as_secs())
    }

    fn keep(&self, key: SessionKey, content: Vec<u8>) -> bool {
        let content = zeroize::Zeroizing::new(content);
        let Some(now) = self.now_unix_s().filter(|_| content.len() <= SESSION_BYTES_MAX) else { return false };
        let session = Session { ends_unix_s: now + u64::from(self.resumption.lifetime_s()), content };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.sessions.insert(key.clone(), session).is_none() {
            kept.order.push_back(key);
        }
        while kept.order.len() > SESSIONS_MAX {
            let oldest = kept.order.pop_front();
            oldest.and_then(|oldest| kept.sessions.remove(&oldest));
        }
        true
    }

    fn find(&self, key: &SessionKey) -> Option<Vec<u8>> {
        let now = self.now_unix_s()?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let session = kept.sessions.get(key).filter(|session| now < session.ends_unix_s)?;
        Some(session.content.to_vec())
    }
}

/// The kept sessions as one `ServerConfig` sees them.
#[derive(Debug)]
struct OwnSessions {
    of: u64,
    all: Arc<Sessions>,
}

impl StoresServerSessions for OwnSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.all.keep((self.of, key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.find(&(self.of, key.to_vec()))
    }

    /// Asked by TLS 1.3 alone, where a ticket is the key. Sessions here are of TLS 1.2, and whoever has seen one's
    /// identifier go by may not have it removed.
    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Tickets that end when they were said to end. Their keys would open them for longer.
#[derive(Debug)]
struct DatedTickets {
    sealed: Arc<dyn ProducesTickets>,
    lifetime_s: u32,
    clock: Arc<dyn TimeProvider>,
}

impl ProducesTickets for DatedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > SESSION_BYTES_MAX {
            return None;
        }
        let ends_unix_s = self.clock.current_time()?.as_secs() + u64::from(self.lifetime_s);
        let dated = zeroize::Zeroizing::new([&ends_unix_s.to_be_bytes()[..], plain].concat());
        self.sealed.encrypt(&dated)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let dated = zeroize::Zeroizing::new(self.sealed.decrypt(cipher)?);
        let (ends_unix_s, plain) = dated.split_first_chunk()?;
        let is_fresh = self.clock.current_time()?.as_secs() < u64::from_be_bytes(*ends_unix_s);
        is_fresh.then(|| plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustls::pki_types::UnixTime;

    use super::*;

    /// Stands still unless a test moves it.
    #[derive(Debug, Default)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
        }
    }

    fn sessions(clock: &Arc<Clock>) -> Arc<Sessions> {
        let resumption = Resumption { tickets: 1, session_ids: true, lifetime: Duration::from_mins(1) };
        Sessions::new(resumption, Arc::clone(clock) as _)
    }

    fn tickets(clock: &Arc<Clock>) -> DatedTickets {
        DatedTickets { sealed: Ticketer::new().unwrap(), lifetime_s: 60, clock: Arc::clone(clock) as _ }
    }

    #[test]
    fn tickets_and_sessions_end_with_their_lifetime() {
        let clock = Arc::default();
        let (tickets, sessions) = (tickets(&clock), sessions(&clock));
        let ticket = tickets.encrypt(b"secret").unwrap();
        assert!(sessions.keep((1, vec![7]), b"secret".to_vec()));
        let found = || (tickets.decrypt(&ticket), sessions.find(&(1, vec![7])));
        clock.0.store(59, Ordering::Relaxed);
        assert_eq!(found(), (Some(b"secret".to_vec()), Some(b"secret".to_vec())));
        clock.0.store(60, Ordering::Relaxed);
        assert_eq!(found(), (None, None));
        assert_eq!(tickets.lifetime(), 60, "what clients are told");
    }

    #[test]
    fn a_session_is_known_to_the_settings_that_made_it() {
        let sessions = sessions(&Arc::default());
        let own = |of| OwnSessions { of, all: Arc::clone(&sessions) };
        assert!(own(1).put(vec![7], vec![1]));
        assert_eq!(own(1).get(&[7]), Some(vec![1]));
        assert_eq!(own(2).get(&[7]), None);
        assert_eq!(own(1).take(&[7]), None, "TLS 1.3 has nothing to take here");
        assert_eq!(own(1).get(&[7]), Some(vec![1]));
    }

    #[test]
    fn kept_sessions_are_bounded_and_the_oldest_goes_first() {
        let sessions = sessions(&Arc::default());
        let id = |n: usize| (1, n.to_be_bytes().to_vec());
        for n in 0..=SESSIONS_MAX {
            assert!(sessions.keep(id(n), vec![0]));
        }
        assert_eq!(sessions.find(&id(0)), None);
        assert!(sessions.find(&id(1)).is_some() && sessions.find(&id(SESSIONS_MAX)).is_some());
        let kept = sessions.kept.lock().unwrap();
        assert_eq!((kept.sessions.len(), kept.order.len()), (SESSIONS_MAX, SESSIONS_MAX));
    }

    #[test]
    fn a_session_that_is_too_large_is_not_kept() {
        let clock = Arc::default();
        let (tickets, sessions) = (tickets(&clock), sessions(&clock));
        for (bytes, fits) in [(SESSION_BYTES_MAX, true), (SESSION_BYTES_MAX + 1, false)] {
            assert_eq!(tickets.encrypt(&vec![0; bytes]).is_some(), fits);
            assert_eq!(sessions.keep((1, vec![7]), vec![0; bytes]), fits);
        }
    }

    #[test]
    fn a_ticket_of_other_keys_or_a_damaged_one_is_no_ticket() {
        let clock = Arc::default();
        let (one, other) = (tickets(&clock), tickets(&clock));
        let mut ticket = one.encrypt(b"secret").unwrap();
        assert_eq!(other.decrypt(&ticket), None);
        *ticket.last_mut().unwrap() ^= 1;
        assert_eq!(one.decrypt(&ticket), None);
        assert_eq!(one.decrypt(&[]), None);
    }
}
