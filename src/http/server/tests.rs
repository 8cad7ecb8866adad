//! Over real sockets: what a router alone cannot show.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::access::Access;
use crate::http::testing::{Server, limits};

struct Running {
    server: Server,
    serving: JoinHandle<Served>,
    address: std::net::SocketAddr,
}

impl Running {
    async fn start(limits: HttpSettings) -> Self {
        let server = Server::with(Access::default(), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stage = server.stage.subscribe();
        let serving =
            tokio::spawn(serve(listener, server.main.clone(), limits, stage, Placing::here()));
        Self { server, serving, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection and reads until the server closes it.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        rest(&mut socket).await
    }

    async fn end(self) -> Served {
        self.server.stage.send_replace(Stage::Closing);
        self.serving.await.unwrap()
    }
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer whose body is `body`.
async fn one(socket: &mut TcpStream, body: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.ends_with(body) {
        let count = socket.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

fn quick() -> HttpSettings {
    let short = Duration::from_millis(60);
    HttpSettings { header_timeout: short, idle_timeout: 3 * short, ..limits() }
}

const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const STUCK: &[u8] = b"POST /v1/predict/stuck HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";

#[tokio::test]
async fn slow_and_idle_connections_end() {
    let running = Running::start(quick()).await;
    let late = running.exchange(b"GET /livez HTTP/1.1\r\nhost: ").await;
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    assert_eq!(running.exchange(b"").await, "", "nothing was asked");
    let idle = running.exchange(LIVE).await;
    assert!(idle.starts_with("HTTP/1.1 200 ") && idle.ends_with("ok\n"), "{idle}");
    assert_eq!(running.end().await, Served { cut: 0 });
}

#[tokio::test]
async fn ambiguous_requests_never_become_two() {
    let running = Running::start(limits()).await;
    let smuggled = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let both = format!(
        "POST /v1/predict/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         content-length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n{smuggled}"
    );
    let answers = running.exchange(both.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    for head in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: +1\r\n",
        "transfer-encoding: gzip\r\n",
    ] {
        let request =
            format!("POST /v1/predict/echo HTTP/1.1\r\nhost: x\r\n{head}\r\nxx{smuggled}");
        let answers = running.exchange(request.as_bytes()).await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{head}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{head}: {answers}");
    }
    assert_eq!(running.end().await, Served { cut: 0 });
}

#[tokio::test]
async fn the_refusal_of_a_large_body_is_read() {
    let running = Running::start(limits()).await;
    let size = 4 << 20;
    let mut socket = running.connect().await;
    let head =
        format!("POST /v1/predict/echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![7; size]).await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let head = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert!(running.exchange(head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    running.end().await;
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_idle_connections_end() {
    let running = Running::start(limits()).await;
    let mut idle = running.connect().await;
    idle.write_all(LIVE).await.unwrap();
    one(&mut idle, "ok\n").await;
    let mut streaming = running.connect().await;
    let half = "POST /v1/predict/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx";
    streaming.write_all(half.as_bytes()).await.unwrap();
    // Its head is in flight once the model's gauge says so.
    while !running.server.metrics().await.contains("maas_inflight_requests 1") {
        tokio::task::yield_now().await;
    }
    running.server.stage.send_replace(Stage::Closing);
    assert_eq!(rest(&mut idle).await, "");
    streaming.write_all(b"y").await.unwrap();
    let answer = rest(&mut streaming).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("Opaque(b\\\"xy\\\")"),
        "{answer}"
    );
    let address = running.address;
    assert_eq!(running.end().await, Served { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn what_does_not_finish_is_refused_then_cut() {
    let running = Running::start(limits()).await;
    let mut stuck = running.connect().await;
    stuck.write_all(STUCK).await.unwrap();
    while !running.server.metrics().await.contains("maas_inflight_requests 1") {
        tokio::task::yield_now().await;
    }
    running.server.stage.send_replace(Stage::Cut);
    let answer = rest(&mut stuck).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    drop(stuck);
    assert_eq!(running.serving.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn a_hundred_headers_are_read_and_more_are_refused() {
    let running = Running::start(limits()).await;
    let with = |count: usize| {
        let others = "x-other: 1\r\n".repeat(count - 2);
        format!("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{others}\r\n")
    };
    let read = running.exchange(with(100).as_bytes()).await;
    assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
    let refused = running.exchange(with(101).as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    running.end().await;
}

#[tokio::test]
async fn a_caller_who_goes_away_cancels() {
    let running = Running::start(limits()).await;
    let mut stuck = running.connect().await;
    stuck.write_all(STUCK).await.unwrap();
    while !running.server.metrics().await.contains("maas_inflight_requests 1") {
        tokio::task::yield_now().await;
    }
    drop(stuck);
    while !running.server.metrics().await.contains("maas_inflight_requests 0") {
        tokio::task::yield_now().await;
    }
    assert!(running.server.metrics().await.contains("outcome=\"cancelled\"} 1"));
    running.end().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let running = Running::start(HttpSettings { connections_max: 1, ..limits() }).await;
    let mut first = running.connect().await;
    first.write_all(LIVE).await.unwrap();
    one(&mut first, "ok\n").await;
    let mut second = running.connect().await;
    second.write_all(LIVE).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(30), one(&mut second, "ok\n")).await;
    assert!(waiting.is_err(), "there is no place yet");
    drop(first);
    one(&mut second, "ok\n").await;
    running.end().await;
}
