//! How much one caller may ask for: a token bucket each, so that nobody takes what others came for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Digest;

/// Callers that are remembered at once. A bucket that is full again says nothing and is forgotten first.
const CALLERS_MAX: usize = 1 << 16;

/// Who asks: the holder of a key, else an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    Key(Digest),
    Address(IpAddr),
}

impl Caller {
    /// The caller behind an address. Of IPv6 it is the network that one subscriber gets, a /64: the rest of
    /// the address is theirs to change.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        };
        Self::Address(network)
    }
}

/// The buckets of all callers. Each holds one second's requests, and fills at the rate of the setting.
#[derive(Debug)]
pub struct Rates {
    /// Requests a second; zero limits nobody.
    per_second: u32,
    buckets: Mutex<HashMap<Caller, Bucket>>,
}

/// Requests that may be made at once, as of a time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    requests: f64,
    at: Instant,
}

impl Rates {
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, buckets: Mutex::default() }
    }

    /// Takes one request out of the caller's bucket.
    ///
    /// # Errors
    /// How long the caller must wait for the next one.
    pub fn take(&self, caller: Caller, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(&caller) {
            let full = f64::from(self.per_second);
            buckets.retain(|_, bucket| self.filled(*bucket, now).requests < full);
            if buckets.len() >= CALLERS_MAX {
                // So many at once are no one caller: the model's own door is what is left.
                return Ok(());
            }
        }
        let fresh = Bucket { requests: f64::from(self.per_second), at: now };
        let bucket = buckets.entry(caller).or_insert(fresh);
        *bucket = self.filled(*bucket, now);
        if bucket.requests < 1.0 {
            let missing = (1.0 - bucket.requests) / f64::from(self.per_second);
            return Err(Duration::from_secs_f64(missing));
        }
        bucket.requests -= 1.0;
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let most = f64::from(self.per_second);
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * most;
        Bucket { requests: (bucket.requests + gained).min(most), at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_a_seconds_requests_at_once_and_then_its_rate() {
        let rates = Rates::new(10);
        let start = Instant::now();
        let caller = Caller::Key(Digest::new([1; 32]));
        let taken = (0..20).filter(|_| rates.take(caller, start).is_ok()).count();
        assert_eq!(taken, 10);
        let wait = rates.take(caller, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        rates.take(caller, start + wait).unwrap();
        rates.take(caller, start + wait).unwrap_err();
        rates.take(Caller::Key(Digest::new([2; 32])), start).expect("another caller");
        let later = start + Duration::from_hours(1);
        let taken = (0..20).filter(|_| rates.take(caller, later).is_ok()).count();
        assert_eq!(taken, 10, "a bucket holds no more than a second's");
    }

    #[test]
    fn no_rate_limits_nobody() {
        let rates = Rates::new(0);
        let now = Instant::now();
        let caller = Caller::at(IpAddr::from([10, 0, 0, 1]));
        assert!((0..1000).all(|_| rates.take(caller, now).is_ok()));
    }

    #[test]
    fn an_address_is_the_network_that_one_caller_has() {
        let caller = |text: &str| Caller::at(text.parse().unwrap());
        assert_eq!(caller("2001:db8::1"), caller("2001:db8::ffff:1:2:3"));
        assert_ne!(caller("2001:db8::1"), caller("2001:db8:0:1::1"));
        assert_ne!(caller("10.0.0.1"), caller("10.0.0.2"));
        assert_eq!(caller("::ffff:10.0.0.1"), caller("10.0.0.1"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let rates = Rates::new(1);
        let start = Instant::now();
        let caller = |n: u32| Caller::Address(IpAddr::V4(n.into()));
        for n in 0..u32::try_from(CALLERS_MAX).unwrap() + 10 {
            rates.take(caller(n), start).unwrap();
        }
        assert_eq!(rates.buckets.lock().unwrap().len(), CALLERS_MAX);
        rates.take(caller(u32::MAX), start + Duration::from_secs(2)).unwrap();
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }
}
