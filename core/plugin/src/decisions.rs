//! Answers that a plugin allowed to be used again.
//!
//! The key is made of those inputs that the answer says it looked at, as with HTTP's `Vary`. Because one
//! plugin may look at different inputs in different cases, the combinations that it has named so far
//! are remembered, and each is tried. Refusals have a table of their own, so that a flood of them cannot
//! push out what honest clients need. Failures are never kept.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use postern_identity::{BundleRef, CertFacts, ClientHello, DnsName, Namespace, Proxied, TlsSession, Why};
use tokio::sync::Semaphore;

/// Decisions that are kept for each plugin and hook; the oldest go first.
pub(crate) const MAX_POSITIVE: usize = 10_000;
/// Refusals that are kept for each plugin and hook; the oldest go first.
pub(crate) const MAX_NEGATIVE: usize = 1_000;
/// Longest life of an answer, whatever the plugin allows.
const MAX_TTL: Duration = Duration::from_mins(5);
/// Combinations of inputs that are tried for each question. An answer with yet another one is not kept.
const MAX_COMBINATIONS: u32 = 4;

/// A set of inputs: the flags `inputs` of the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vary(u8);

impl Vary {
    pub(crate) const NOTHING: Self = Self(0);
    pub(crate) const SERVER_NAME: Self = Self(1);
    pub(crate) const ALPN: Self = Self(1 << 1);
    pub(crate) const CRYPTO: Self = Self(1 << 2);
    pub(crate) const PEER_IP: Self = Self(1 << 3);
    pub(crate) const CERTIFICATE: Self = Self(1 << 4);
    pub(crate) const NAMESPACE: Self = Self(1 << 5);
    /// All of them. Also the highest value, so that a set of sets fits into 64 bits.
    const ALL: Self = Self(0x3f);

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The inputs of one question.
pub(crate) struct Inputs<'a> {
    pub(crate) server_name: Option<&'a DnsName>,
    /// None where the hook does not see the `ClientHello`.
    pub(crate) hello: Option<&'a ClientHello>,
    pub(crate) peer_ip: IpAddr,
    pub(crate) chain: &'a [Arc<CertFacts>],
    pub(crate) namespace: Option<&'a Namespace>,
    /// What the WIT has no flag for and yet goes into an authorizer's answer; always part of the key.
    pub(crate) bundle: Option<&'a BundleRef>,
    pub(crate) proxied: Option<&'a Proxied>,
    pub(crate) tls: Option<TlsSession>,
}

impl Inputs<'_> {
    /// Each part carries its length or its end, so that two different inputs never make one key.
    fn key(&self, vary: Vary) -> Vec<u8> {
        let mut key = Vec::with_capacity(160);
        let parts = [self.tls.is_some(), self.bundle.is_some(), self.proxied.is_some()];
        key.push(vary.0);
        key.extend(parts.map(u8::from));
        if let Some(TlsSession { version, cipher_suite, resumed }) = self.tls {
            text(&mut key, Some(version));
            key.extend(cipher_suite.to_be_bytes());
            key.push(u8::from(resumed));
        }
        if let Some(bundle) = self.bundle {
            text(&mut key, bundle.namespace.name().map(AsRef::as_ref));
            text(&mut key, Some(bundle.name.as_str()));
        }
        if let Some(said) = self.proxied {
            hearsay(&mut key, said);
        }
        if vary.has(Vary::SERVER_NAME) {
            text(&mut key, self.server_name.map(AsRef::as_ref));
        }
        if let Some(hello) = self.hello {
            if vary.has(Vary::ALPN) {
                count(&mut key, hello.alpn.len());
                hello.alpn.iter().for_each(|protocol| text(&mut key, Some(protocol)));
            }
            if vary.has(Vary::CRYPTO) {
                for numbers in [&hello.cipher_suites, &hello.signature_schemes, &hello.named_groups] {
                    count(&mut key, numbers.len());
                    key.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
                }
            }
        }
        if vary.has(Vary::PEER_IP) {
            address(&mut key, self.peer_ip);
        }
        if vary.has(Vary::CERTIFICATE) {
            count(&mut key, self.chain.len());
            self.chain.iter().for_each(|facts| key.extend(facts.fingerprint));
        }
        if vary.has(Vary::NAMESPACE) {
            text(&mut key, self.namespace.and_then(Namespace::name).map(AsRef::as_ref));
        }
        key
    }
}

fn hearsay(key: &mut Vec<u8>, said: &Proxied) {
    address(key, said.proxy);
    key.push(u8::from(said.trusted));
    text(key, said.authority.as_deref());
    text(key, said.alpn.as_deref());
    key.push(u8::from(said.tls.is_some()));
    if let Some(tls) = &said.tls {
        key.push(u8::from(tls.verified));
        for word in [&tls.version, &tls.cipher, &tls.common_name] {
            text(key, word.as_deref());
        }
    }
}

fn address(key: &mut Vec<u8>, ip: IpAddr) {
    let ip = ip.to_canonical();
    key.push(u8::from(ip.is_ipv6()));
    match ip {
        IpAddr::V4(ip) => key.extend(ip.octets()),
        IpAddr::V6(ip) => key.extend(ip.octets()),
    }
}

fn count(key: &mut Vec<u8>, number: usize) {
    key.extend((number as u64).to_be_bytes());
}

fn text(key: &mut Vec<u8>, text: Option<&str>) {
    key.push(u8::from(text.is_some()));
    if let Some(text) = text {
        count(key, text.len());
        key.extend(text.as_bytes());
    }
}

/// A plugin's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) why: Why,
    /// Escaped and cut.
    pub(crate) detail: String,
}

/// A plugin's checked answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// It decided.
    Decided(T),
    /// Not its business.
    Pass,
    /// The gate stays shut.
    Rejected(Rejected),
}

/// How an answer may be used again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    pub(crate) vary: Vary,
}

/// What a guest has just said.
#[derive(Debug)]
pub(crate) struct Fresh<T> {
    pub(crate) verdict: Verdict<T>,
    pub(crate) lease: Option<Lease>,
}

/// The kept answers of one plugin to one question.
pub(crate) struct Decisions<T> {
    positive: Table<T>,
    negative: Table<Rejected>,
    /// Bit `n` is set where an answer with `Vary(n)` was kept.
    combinations: AtomicU64,
    flights: DashMap<Arc<[u8]>, Arc<Semaphore>>,
    /// Whether the latest answer could be kept. While not, waiting for another's answer is in vain.
    cacheable: AtomicBool,
}

/// Leave to ask the guest. While it lives, others with the same question wait for the answer.
pub(crate) struct Flight<'a> {
    flights: &'a DashMap<Arc<[u8]>, Arc<Semaphore>>,
    key: Arc<[u8]>,
    gate: Arc<Semaphore>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.remove(&self.key);
        self.gate.close();
    }
}

/// What to do with a question that has no kept answer.
pub(crate) enum Boarding<'a> {
    /// Ask the guest; the flight is to be held meanwhile, where there is one.
    Ask(Option<Flight<'a>>),
    /// Somebody else is asking. Closed when the answer is there.
    Wait(Arc<Semaphore>),
}

impl<T: Clone> Decisions<T> {
    pub(crate) fn new() -> Self {
        Self {
            positive: Table::new(MAX_POSITIVE),
            negative: Table::new(MAX_NEGATIVE),
            combinations: AtomicU64::new(0),
            flights: DashMap::new(),
            cacheable: AtomicBool::new(true),
        }
    }

    /// The kept answer, if there is one that may still be used.
    pub(crate) fn find(&self, inputs: &Inputs<'_>, now: Instant) -> Option<Verdict<T>> {
        combinations(self.combinations.load(Relaxed)).find_map(|vary| {
            let key = inputs.key(vary);
            let decided = self.positive.find(&key, now).map(Verdict::Decided);
            decided.or_else(|| self.negative.find(&key, now).map(Verdict::Rejected))
        })
    }

    /// One question goes to the guest at a time, if its answer can be expected to serve the others.
    pub(crate) fn board(&self, inputs: &Inputs<'_>) -> Boarding<'_> {
        if !self.cacheable.load(Relaxed) {
            return Boarding::Ask(None);
        }
        // Questions that agree in all inputs that any answer has named so far will agree in the next one.
        let known = combinations(self.combinations.load(Relaxed)).reduce(Vary::and);
        let key: Arc<[u8]> = inputs.key(known.unwrap_or(Vary::ALL)).into();
        let gate = Arc::new(Semaphore::new(0));
        match self.flights.entry(Arc::clone(&key)) {
            dashmap::Entry::Occupied(entry) => Boarding::Wait(Arc::clone(entry.get())),
            dashmap::Entry::Vacant(entry) => {
                entry.insert(Arc::clone(&gate));
                Boarding::Ask(Some(Flight { flights: &self.flights, key, gate }))
            }
        }
    }

    /// Keeps the answer where the plugin allows it.
    pub(crate) fn keep(&self, inputs: &Inputs<'_>, fresh: &Fresh<T>, now: Instant) {
        let lease = fresh.lease.filter(|lease| !lease.ttl.is_zero() && self.admit(lease.vary));
        self.cacheable.store(lease.is_some(), Relaxed);
        let Some(lease) = lease else { return };
        let (key, until) = (inputs.key(lease.vary), now + lease.ttl.min(MAX_TTL));
        match &fresh.verdict {
            Verdict::Decided(answer) => self.positive.keep(key, answer.clone(), until),
            Verdict::Rejected(rejected) => self.negative.keep(key, rejected.clone(), until),
            Verdict::Pass => {}
        }
    }

    /// Whether the combination is one of the few that are tried.
    fn admit(&self, vary: Vary) -> bool {
        let bit = 1_u64 << vary.0;
        let admitted = self.combinations.fetch_update(Relaxed, Relaxed, |known| {
            (known & bit != 0 || known.count_ones() < MAX_COMBINATIONS).then_some(known | bit)
        });
        admitted.is_ok()
    }

    /// Kept decisions and kept refusals.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.positive.map.len(), self.negative.map.len())
    }
}

fn combinations(set: u64) -> impl Iterator<Item = Vary> {
    (0..=Vary::ALL.0).filter(move |bit| set >> bit & 1 == 1).map(Vary)
}

/// A bounded table: first in, first out.
struct Table<V> {
    map: DashMap<Arc<[u8]>, (Instant, V)>,
    /// Every key of the map, in the order of their arrival; a key that came twice is in it twice.
    order: Mutex<VecDeque<Arc<[u8]>>>,
    max: usize,
}

impl<V: Clone> Table<V> {
    fn new(max: usize) -> Self {
        Self { map: DashMap::new(), order: Mutex::new(VecDeque::new()), max }
    }

    fn find(&self, key: &[u8], now: Instant) -> Option<V> {
        let entry = self.map.get(key)?;
        let (until, value) = entry.value();
        (now < *until).then(|| value.clone())
    }

    fn keep(&self, key: Vec<u8>, value: V, until: Instant) {
        let key: Arc<[u8]> = key.into();
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.push_back(Arc::clone(&key));
        self.map.insert(key, (until, value));
        while order.len() > self.max {
            let Some(oldest) = order.pop_front() else { break };
            self.map.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs<'a>(hello: &'a ClientHello, ip: &str) -> Inputs<'a> {
        Inputs {
            server_name: hello.server_name.as_ref(),
            hello: Some(hello),
            peer_ip: ip.parse().expect("an address"),
            chain: &[],
            namespace: None,
            bundle: None,
            proxied: None,
            tls: None,
        }
    }

    fn hello(name: &str) -> ClientHello {
        ClientHello { server_name: Some(DnsName::new(name).expect("a name")), ..ClientHello::default() }
    }

    fn fresh(answer: u32, vary: Vary) -> Fresh<u32> {
        Fresh { verdict: Verdict::Decided(answer), lease: Some(Lease { ttl: Duration::from_mins(1), vary }) }
    }

    #[test]
    fn an_answer_serves_only_questions_that_agree_in_what_it_looked_at() {
        let decisions = Decisions::new();
        let now = Instant::now();
        let (a, b) = (hello("a.example"), hello("b.example"));
        decisions.keep(&inputs(&a, "192.0.2.1"), &fresh(1, Vary::SERVER_NAME), now);
        assert_eq!(decisions.find(&inputs(&a, "192.0.2.2"), now), Some(Verdict::Decided(1)));
        assert_eq!(decisions.find(&inputs(&b, "192.0.2.1"), now), None);
        decisions.keep(&inputs(&b, "192.0.2.1"), &fresh(2, Vary::PEER_IP), now);
        assert_eq!(decisions.find(&inputs(&b, "192.0.2.1"), now), Some(Verdict::Decided(2)));
        assert_eq!(decisions.find(&inputs(&b, "192.0.2.9"), now), None);
    }

    #[test]
    fn alpn_lists_that_concatenate_alike_are_different_inputs() {
        let list = |protocols: &[&str]| ClientHello {
            alpn: protocols.iter().map(ToString::to_string).collect(),
            ..ClientHello::default()
        };
        let (one, two) = (list(&["mqtt", "x"]), list(&["mqttx"]));
        assert_ne!(inputs(&one, "::1").key(Vary::ALPN), inputs(&two, "::1").key(Vary::ALPN));
    }

    #[test]
    fn an_answer_ends_with_its_lease_and_after_five_minutes_at_the_latest() {
        let decisions = Decisions::new();
        let now = Instant::now();
        let a = hello("a.example");
        let lease = Some(Lease { ttl: Duration::from_secs(100_000), vary: Vary::SERVER_NAME });
        decisions.keep(&inputs(&a, "::1"), &Fresh { verdict: Verdict::Decided(1), lease }, now);
        let later = now + MAX_TTL;
        assert!(
            decisions.find(&inputs(&a, "::1"), later.checked_sub(Duration::from_millis(1)).expect("later")).is_some()
        );
        assert!(decisions.find(&inputs(&a, "::1"), later).is_none());
    }

    #[test]
    fn refusals_do_not_push_out_decisions() {
        let decisions = Decisions::new();
        let now = Instant::now();
        let good = hello("good.example");
        decisions.keep(&inputs(&good, "::1"), &fresh(7, Vary::SERVER_NAME), now);
        let lease = Some(Lease { ttl: Duration::from_mins(1), vary: Vary::SERVER_NAME });
        for n in 0..(MAX_POSITIVE + MAX_NEGATIVE) {
            let bad = hello(&format!("bad{n}.example"));
            let rejected = Rejected { why: Why::UnknownName, detail: String::new() };
            decisions.keep(&inputs(&bad, "::1"), &Fresh { verdict: Verdict::Rejected(rejected), lease }, now);
        }
        assert_eq!(decisions.sizes(), (1, MAX_NEGATIVE));
        assert_eq!(decisions.find(&inputs(&good, "::1"), now), Some(Verdict::Decided(7)));
    }

    #[test]
    fn the_oldest_decision_makes_room_for_the_one_over_the_bound() {
        let table = Table::new(3);
        let until = Instant::now() + Duration::from_mins(1);
        for key in 0..4_u8 {
            table.keep(vec![key], key, until);
        }
        assert_eq!(table.map.len(), 3);
        assert_eq!(table.find(&[0], Instant::now()), None);
        assert_eq!(table.find(&[3], Instant::now()), Some(3));
    }

    #[test]
    fn a_fifth_combination_of_inputs_is_not_kept() {
        let decisions = Decisions::new();
        let now = Instant::now();
        let a = hello("a.example");
        for n in 1..=4 {
            decisions.keep(&inputs(&a, "::1"), &fresh(1, Vary(n)), now);
        }
        decisions.keep(&inputs(&a, "::1"), &fresh(1, Vary(5)), now);
        assert_eq!(decisions.sizes().0, 4);
        decisions.keep(&inputs(&a, "::2"), &fresh(1, Vary::SERVER_NAME), now);
        assert_eq!(decisions.combinations.load(Relaxed).count_ones(), MAX_COMBINATIONS);
    }

    #[test]
    fn the_second_asker_waits_until_the_first_is_done_or_gone() {
        let decisions = Decisions::<u32>::new();
        let a = hello("a.example");
        let Boarding::Ask(Some(flight)) = decisions.board(&inputs(&a, "::1")) else { panic!("the first asks") };
        let Boarding::Wait(gate) = decisions.board(&inputs(&a, "::1")) else { panic!("the second waits") };
        assert!(matches!(decisions.board(&inputs(&a, "::2")), Boarding::Ask(Some(_))), "another question");
        drop(flight);
        assert!(gate.is_closed());
        assert!(matches!(decisions.board(&inputs(&a, "::1")), Boarding::Ask(Some(_))));
    }
}
