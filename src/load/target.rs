//! Where the load goes: a URL, the addresses behind it, and whether they may be loaded.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use hyper::Uri;
use hyper::http::uri::Scheme;

/// A server. Its name was resolved once, and only what was checked then is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As the URL has it, for the Host header.
    pub host: String,
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// The path and query of the URL, where it has more than `/`.
    pub path: Option<String>,
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("expected http://HOST[:PORT][/PATH], got {0:?}")]
    Url(String),
    #[error("{host} cannot be resolved to an address: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error(
        "{host} is {address}, which is neither loopback nor private: put load on servers of your own; \
         --allow-remote says that this is one"
    )]
    Remote { host: String, address: IpAddr },
}

impl Target {
    /// Reads a URL and resolves its host. Unless `remote` is allowed, every address must be near.
    ///
    /// # Errors
    /// [`TargetError`] with what was expected.
    pub fn read(url: &str, remote: bool) -> Result<Self, TargetError> {
        let malformed = || TargetError::Url(url.chars().take(200).collect());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        if uri.scheme() != Some(&Scheme::HTTP) || authority.as_str().contains('@') {
            return Err(malformed());
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = authority.as_str().to_owned();
        let addresses: Vec<SocketAddr> = (name, authority.port_u16().unwrap_or(80))
            .to_socket_addrs()
            .map_err(|source| TargetError::Resolve { host: host.clone(), source })?
            .collect();
        if addresses.is_empty() {
            return Err(malformed());
        }
        match addresses.iter().find(|address| !is_near(address.ip())) {
            Some(far) if !remote => Err(TargetError::Remote { host, address: far.ip() }),
            _ => {
                let path = uri.path_and_query().map(ToString::to_string);
                Ok(Self { host, addresses, path: path.filter(|path| path != "/") })
            }
        }
    }
}

/// Loopback, private (RFC 1918, RFC 4193) or link-local.
fn is_near(address: IpAddr) -> bool {
    // An IPv4 address in IPv6 clothes is what it is below them.
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_may_be_loaded_without_a_word() {
        for (address, near) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("192.169.1.1", false),
            ("169.254.0.1", true),
            ("8.8.8.8", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("::1", true),
            ("::", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:4860:4860::8888", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(is_near(address.parse().unwrap()), near, "{address}");
        }
    }

    #[test]
    fn a_remote_server_is_refused_unless_it_is_allowed() {
        let refused = Target::read("http://8.8.8.8:80/", false).unwrap_err();
        assert!(matches!(refused, TargetError::Remote { .. }), "{refused}");
        assert!(refused.to_string().contains("--allow-remote"));
        let refused = Target::read("http://[2001:4860:4860::8888]/livez", false).unwrap_err();
        assert!(matches!(refused, TargetError::Remote { .. }), "{refused}");
        let allowed = Target::read("http://8.8.8.8:80/", true).unwrap();
        assert_eq!(allowed.addresses, ["8.8.8.8:80".parse().unwrap()]);
    }

    #[test]
    fn a_url_says_host_port_and_path() {
        let target = Target::read("http://[::1]:8080/livez?verbose", false).unwrap();
        assert_eq!(target.host, "[::1]:8080");
        assert_eq!(target.addresses, ["[::1]:8080".parse().unwrap()]);
        assert_eq!(target.path.as_deref(), Some("/livez?verbose"));
        let bare = Target::read("http://127.0.0.1", false).unwrap();
        assert_eq!((bare.addresses[0].port(), bare.path), (80, None));
        let named = Target::read("http://localhost:1", false).unwrap();
        assert!(named.addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn another_url_is_refused() {
        for bad in ["127.0.0.1:80", "https://127.0.0.1", "http://", "http://u@127.0.0.1/", "/livez"]
        {
            let refused = Target::read(bad, true).unwrap_err().to_string();
            assert!(refused.starts_with("expected http://"), "{bad}: {refused}");
        }
    }
}
