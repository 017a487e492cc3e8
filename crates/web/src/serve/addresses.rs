//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::forwarded::is_proxy;

/// Counts connections by address: by /64 for IPv6, which is what one customer gets. It holds as many
/// entries as there are connections.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
    unlimited: Arc<[IpNet]>,
}

/// A connection's place in the count.
#[derive(Debug)]
pub(super) struct Counted {
    of: Option<(Addresses, IpAddr)>,
}

impl Addresses {
    pub(super) fn new(max: usize, unlimited: Arc<[IpNet]>) -> Addresses {
        Addresses { open: Arc::default(), max, unlimited }
    }

    /// Counts one more, or says that it would be too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Counted> {
        if is_proxy(&self.unlimited, address) {
            return Some(Counted { of: None });
        }
        let site = site(address);
        let mut open = self.open();
        let count = open.entry(site).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted { of: Some((self.clone(), site)) })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((addresses, site)) = &self.of else { return };
        let mut open = addresses.open();
        if let Some(count) = open.get_mut(site) {
            *count -= 1;
            if *count == 0 {
                open.remove(site);
            }
        }
    }
}

/// Whose address it is: its /64 for IPv6, which is what one customer gets.
pub fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_they_come_back() {
        let addresses = Addresses::new(2, ["127.0.0.0/8".parse().unwrap()].into());
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some(), "another address");
        drop(first);
        let again = enter("192.0.2.1");
        assert!(again.is_some());
        let _v6 = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none(), "the same /64");
        assert!(enter("2001:db8:0:1::3").is_some(), "another /64");
        let proxied: Vec<_> = (0..10).map(|_| enter("127.0.0.1")).collect();
        assert!(proxied.iter().all(Option::is_some), "unlimited");
        drop((again, _second, _v6, proxied));
        assert!(addresses.open().is_empty(), "nothing is left behind");
    }
}
