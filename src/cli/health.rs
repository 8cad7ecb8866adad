//! `maas health [URL] [--live]`: asks a server whether it is ready. Made for a container's health
//! check: it needs no shell, no client library and no asynchronous runtime.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::cli::Outcome;
use crate::cli::settings::SettingsArgs;

/// For connecting, and for each wait after that.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A status line and the few reasons after it; more is not read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// http://HOST:PORT[/PATH] [default: /readyz at the configured address]
    url: Option<String>,
    /// Ask whether it lives (/livez) instead of whether it is ready
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &Args) -> Outcome {
    let probe = if args.live { "/livez" } else { "/readyz" };
    let (address, path) = match &args.url {
        Some(url) => target(url, probe)?,
        None => (reachable(args.settings.read()?.http), probe.to_owned()),
    };
    let answer = get(address, &path).map_err(|error| format!("{address}: {error}"))?;
    let status = status(&answer).ok_or_else(|| format!("{address} does not speak HTTP/1.1"))?;
    if status == 200 {
        println!("ok");
        Ok(())
    } else {
        Err(format!("{address}{path} answered {status}").into())
    }
}

/// The address and the path of a URL; the path is the probe's when the URL has none.
fn target(url: &str, probe: &str) -> Result<(SocketAddr, String), String> {
    let expected = || format!("expected http://HOST:PORT[/PATH], got {url:?}");
    let rest = url.strip_prefix("http://").ok_or_else(expected)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if path.is_empty() { probe.to_owned() } else { format!("/{path}") };
    // A control character in the path could end the request early and begin another one.
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(expected());
    }
    let mut addresses = host.to_socket_addrs().map_err(|_| expected())?;
    Ok((addresses.next().ok_or_else(expected)?, path))
}

/// A server that listens on every address is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: a server that has read enough may close before the rest comes.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status of an HTTP/1.1 answer.
fn status(answer: &[u8]) -> Option<u16> {
    let digits = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What `maas health` says to a server that answers `answer`, and what it was asked.
    fn asked(answer: &'static str) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let args = Args { url: Some(url), live: false, settings: SettingsArgs::default() };
        let outcome = run(&args).map_err(|error| error.to_string());
        (outcome, server.join().unwrap())
    }

    #[test]
    fn only_200_is_healthy() {
        let (outcome, request) = asked("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(outcome, Ok(()));
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        let (outcome, _) = asked("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        assert!(outcome.unwrap_err().ends_with("/readyz answered 503"));
        assert!(asked("SSH-2.0-x").0.unwrap_err().contains("HTTP/1.1"));
    }

    #[test]
    fn a_url_that_cannot_be_asked_says_what_was_expected() {
        for bad in
            ["127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/\r\n"]
        {
            assert!(target(bad, "/readyz").unwrap_err().starts_with("expected http://"), "{bad}");
        }
        let (address, path) = target("http://[::1]:80/v2/health/ready", "/readyz").unwrap();
        assert_eq!((address, path.as_str()), ("[::1]:80".parse().unwrap(), "/v2/health/ready"));
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(asked("[::]:80"), "[::1]:80");
        assert_eq!(asked("10.0.0.1:80"), "10.0.0.1:80");
    }
}
