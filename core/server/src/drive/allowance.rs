//! What a connection may still publish: by its listener's rates, which are its own, and by its tenant's, which all
//! clients of the tenant share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::meter::Traffic;
use crate::metrics::RealmMetrics;

/// How often publishers were made to wait, since the start of the broker.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// By the rates of their listener.
    pub(crate) own: AtomicU64,
    /// By the rates of their tenant.
    pub(crate) of_tenant: AtomicU64,
}

/// See the module.
pub(crate) struct Allowance {
    own: Option<Traffic>,
    of_tenant: Option<Arc<Mutex<Traffic>>>,
    metrics: Arc<RealmMetrics>,
}

impl Allowance {
    pub(crate) fn new(
        own: Option<Traffic>,
        of_tenant: Option<Arc<Mutex<Traffic>>>,
        metrics: Arc<RealmMetrics>,
    ) -> Self {
        Self { own, of_tenant, metrics }
    }

    /// Until when nothing is to be taken from the client; none where it may go on. Each call that finds a wait is
    /// counted as one.
    pub(crate) fn wait(&mut self) -> Option<Instant> {
        if self.own.is_none() && self.of_tenant.is_none() {
            return None;
        }
        let now = Instant::now();
        let own = self.own.as_mut().map_or(Duration::ZERO, |traffic| traffic.wait(now));
        let of_tenant = self.shared(|traffic| traffic.wait(now)).unwrap_or(Duration::ZERO);
        let wait = own.max(of_tenant);
        if wait.is_zero() {
            return None;
        }
        let delays = &self.metrics.delays;
        let cause = if own >= of_tenant { &delays.own } else { &delays.of_tenant };
        cause.fetch_add(1, Ordering::Relaxed);
        Some(now + wait)
    }

    /// A PUBLISH of so many bytes was taken.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if self.own.is_none() && self.of_tenant.is_none() {
            return;
        }
        let (bytes, now) = (u32::try_from(bytes).unwrap_or(u32::MAX), Instant::now());
        if let Some(traffic) = &mut self.own {
            traffic.take(bytes, now);
        }
        self.shared(|traffic| traffic.take(bytes, now));
    }

    fn shared<T>(&self, of: impl FnOnce(&mut Traffic) -> T) -> Option<T> {
        let mut traffic = self.of_tenant.as_ref()?.lock().ok()?;
        Some(of(&mut traffic))
    }
}

#[cfg(test)]
mod tests {
    use postern_config::{PublishRates, Rate};

    use super::*;

    /// So many messages an hour.
    fn traffic(messages: u32) -> Option<Traffic> {
        let rate = Rate { count: messages, per: Duration::from_hours(1) };
        Traffic::new(&PublishRates { messages_rate: Some(rate), ..PublishRates::default() }, Instant::now())
    }

    /// Messages taken before a wait.
    fn at_once(allowance: &mut Allowance) -> usize {
        (0..100).take_while(|_| allowance.wait().is_none().then(|| allowance.spend(1)).is_some()).count()
    }

    #[test]
    fn the_rates_of_a_tenant_are_shared_by_its_clients_and_by_no_others() {
        let metrics = Arc::new(RealmMetrics::default());
        let tenant = |messages| traffic(messages).map(|traffic| Arc::new(Mutex::new(traffic)));
        let (acme, globex) = (tenant(5), tenant(5));
        let of = |own, tenant: &Option<Arc<Mutex<Traffic>>>| Allowance::new(own, tenant.clone(), Arc::clone(&metrics));
        let (mut first, mut second, mut other) = (of(traffic(3), &acme), of(traffic(3), &acme), of(None, &globex));
        assert_eq!(at_once(&mut first), 3, "its own");
        assert_eq!(at_once(&mut second), 2, "what the first has left of the tenant's");
        assert_eq!(at_once(&mut other), 5, "another tenant's");
        let delays = &metrics.delays;
        assert_eq!((delays.own.load(Ordering::Relaxed), delays.of_tenant.load(Ordering::Relaxed)), (1, 2));
        assert_eq!(at_once(&mut of(None, &None)), 100);
    }
}
