//! Admission before any byte is read: connections per listener, and sockets per address that have not
//! shown who they are. Waiting for a slow peer costs a slot of that peer's address, never one that
//! others need.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

/// Counters shared by all listeners.
#[derive(Default)]
pub(crate) struct Admission {
    /// Sockets that have not finished CONNECT, by address. An entry goes away with its last socket.
    unauthenticated: DashMap<IpAddr, u32>,
}

/// Holds an address's slot until CONNECT is accepted or the connection ends.
pub(crate) struct UnauthenticatedSlot {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// Takes a slot; none where the address has used up `limit`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<UnauthenticatedSlot> {
        let address = network_of(address);
        let mut count = self.unauthenticated.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(UnauthenticatedSlot { admission: Arc::clone(self), address })
    }
}

impl Drop for UnauthenticatedSlot {
    fn drop(&mut self) {
        if let dashmap::Entry::Occupied(mut entry) = self.admission.unauthenticated.entry(self.address) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

/// One IPv4 address, or the /64 that one IPv6 host can choose its addresses from.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Connections of one listener.
#[derive(Default)]
pub(crate) struct ConnectionCount(AtomicUsize);

/// One of them.
pub(crate) struct ConnectionSlot(Arc<ConnectionCount>);

impl ConnectionCount {
    /// Takes a slot; none where `limit` are taken.
    pub(crate) fn enter(self: &Arc<Self>, limit: usize) -> Option<ConnectionSlot> {
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        taken.ok().map(|_| ConnectionSlot(Arc::clone(self)))
    }

    /// How many are taken.
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_no_more_slots_than_its_limit_and_gets_them_back() {
        let admission = Arc::new(Admission::default());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let first = admission.enter(address, 2).unwrap();
        let _second = admission.enter(address, 2).unwrap();
        assert!(admission.enter(address, 2).is_none());
        assert!(admission.enter("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(first);
        assert!(admission.enter(address, 2).is_some());
    }

    #[test]
    fn a_mapped_address_counts_as_its_ipv4_address_and_a_64_network_as_one() {
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(network_of("2001:db8:1:2::1".parse().unwrap()), network_of("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(network_of("2001:db8:1:2::1".parse().unwrap()), network_of("2001:db8:1:3::1".parse().unwrap()));
    }

    #[test]
    fn empty_entries_do_not_pile_up() {
        let admission = Arc::new(Admission::default());
        drop(admission.enter("192.0.2.1".parse().unwrap(), 1));
        assert_eq!(admission.unauthenticated.len(), 0);
    }

    #[test]
    fn a_listener_takes_no_more_connections_than_its_limit() {
        let count = Arc::new(ConnectionCount::default());
        let only = count.enter(1).unwrap();
        assert!(count.enter(1).is_none());
        drop(only);
        assert!(count.enter(1).is_some());
    }
}
