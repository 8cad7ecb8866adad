//! The decisions, as pure functions.

use std::net::SocketAddr;
use std::str::FromStr;

use crate::access::{Key, Keys};

/// What a key may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Inference,
    Metrics,
    Admin,
}

impl Scope {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Inference, Self::Metrics, Self::Admin]
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or(())
    }
}

/// What a route needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Probes, and metrics on the admin listener.
    Nothing,
    Key(Scope),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// No key, or one that we do not know.
    Unauthenticated,
    /// A key of ours that is not good for this.
    Forbidden,
}

/// Whether a caller with this key, if any, may have this route. `open` lets everybody in, but never
/// to an admin route.
#[must_use]
pub fn allows(need: Need, open: bool, key: Option<&Key>) -> Decision {
    match (need, key) {
        (Need::Nothing, _) => Decision::Allow,
        (Need::Key(scope), _) if open && scope != Scope::Admin => Decision::Allow,
        (Need::Key(_), None) => Decision::Unauthenticated,
        (Need::Key(scope), Some(key)) if key.has(scope) => Decision::Allow,
        (Need::Key(_), Some(_)) => Decision::Forbidden,
    }
}

/// A start that would have put inference before the world without keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} can be reached from other machines and no key exists: give a file of them with \
     --keys, listen on 127.0.0.1, or say --insecure when something in front asks for keys"
)]
pub struct BindRefused(SocketAddr);

/// Whether the main listener may bind this address.
///
/// # Errors
/// [`BindRefused`] when the address is not loopback, there are no keys, and nobody insists.
pub fn check_bind(addr: SocketAddr, keys: &Keys, insecure: bool) -> Result<(), BindRefused> {
    let local = addr.ip().to_canonical().is_loopback();
    if local || insecure || !keys.is_empty() { Ok(()) } else { Err(BindRefused(addr)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Digest;

    fn key(scopes: &[Scope]) -> Key {
        Key::new(Digest::new([7; 32]), scopes.to_vec(), "")
    }

    #[test]
    fn the_policy_is_this_table() {
        use Decision::{Allow, Forbidden, Unauthenticated};
        let infers = key(&[Scope::Inference]);
        let rules = key(&[Scope::Admin]);
        let cases = [
            (Need::Nothing, false, None, Allow),
            (Need::Key(Scope::Inference), true, None, Allow),
            (Need::Key(Scope::Inference), true, Some(&rules), Allow),
            (Need::Key(Scope::Inference), false, None, Unauthenticated),
            (Need::Key(Scope::Inference), false, Some(&infers), Allow),
            (Need::Key(Scope::Inference), false, Some(&rules), Forbidden),
            (Need::Key(Scope::Metrics), true, None, Allow),
            (Need::Key(Scope::Metrics), false, Some(&infers), Forbidden),
            (Need::Key(Scope::Admin), true, None, Unauthenticated),
            (Need::Key(Scope::Admin), true, Some(&infers), Forbidden),
            (Need::Key(Scope::Admin), false, Some(&rules), Allow),
        ];
        for (need, open, key, expected) in cases {
            assert_eq!(allows(need, open, key), expected, "{need:?} open={open} {key:?}");
        }
    }

    #[test]
    fn a_public_address_needs_keys_or_insistence() {
        let keys: Keys = format!("{} inference", "ab".repeat(32)).parse().unwrap();
        let none = Keys::default();
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            check_bind(local.parse().unwrap(), &none, false).unwrap();
        }
        for public in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1"] {
            let addr = public.parse().unwrap();
            assert_eq!(check_bind(addr, &none, false), Err(BindRefused(addr)));
            check_bind(addr, &keys, false).unwrap();
            check_bind(addr, &none, true).unwrap();
        }
    }
}
