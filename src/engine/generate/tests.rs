//! Sequences that join, leave, fail and wait.

mod counter;
mod scores;
mod texts;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use crate::domain::{Answer, Fragment, Kind, ParamValue, Piece, Problem};
use crate::engine::tests::{manner, request, whole};
use crate::engine::{Endpoint, Engine, Limits, Reply, Request};
use counter::{Counter, Gate, Words, said};

struct Bench {
    endpoint: Arc<dyn Endpoint>,
    network: Arc<Counter>,
    go: Sender<()>,
    entered: UnboundedReceiver<String>,
    _engine: Engine,
}

fn bench(places: usize) -> Bench {
    let ((enter, entered), (go, gate)) = (unbounded_channel(), channel());
    let gate = Some(Mutex::new(Gate { entered: enter, go: gate }));
    let (engine, network) =
        (Engine::start(2).unwrap(), Arc::new(Counter { encoded: Mutex::default(), gate }));
    let limits = Limits { batch_rows_max: places, ..Limits::default() };
    let endpoint =
        engine.encoder_decoder(manner("counter", limits), Arc::clone(&network), Words).into();
    Bench { endpoint, network, go, entered, _engine: engine }
}

impl Bench {
    fn send(&self, words: &[&str]) -> JoinHandle<Result<Answer, Problem>> {
        self.send_by(words, Instant::now() + Duration::from_secs(30))
    }

    fn send_by(&self, words: &[&str], deadline: Instant) -> JoinHandle<Result<Answer, Problem>> {
        let (endpoint, request) = (Arc::clone(&self.endpoint), request(words));
        let request = Request { deadline, ..request };
        tokio::spawn(async move { whole(&*endpoint, request).await })
    }

    /// Rows of the step that has begun and waits at the gate.
    async fn entered(&mut self) -> String {
        self.entered.recv().await.unwrap()
    }

    /// Lets the step go; the rows of the next one.
    async fn step(&mut self) -> String {
        self.go.send(()).unwrap();
        self.entered().await
    }

    fn encoded(&self) -> String {
        self.network.encoded.lock().unwrap().iter().collect()
    }

    /// Until these have come to the encoder, and `waiting` wait for it or for the step after this one.
    async fn until(&self, encoded: &str, waiting: usize) {
        let queued = || self.endpoint.stats().queued.load(Ordering::Relaxed);
        while self.encoded() != encoded || queued() != waiting {
            tokio::task::yield_now().await;
        }
    }
}

fn ended(answer: Result<Result<Answer, Problem>, tokio::task::JoinError>) -> Answer {
    answer.unwrap().unwrap()
}

#[tokio::test]
async fn windows_join_and_leave_between_steps() {
    let mut bench = bench(8);
    let long = bench.send(&["a9"]);
    assert_eq!(bench.entered().await, "aa");
    // It is encoded while the other one is in a step, and joins after it.
    let short = bench.send(&["b2"]);
    bench.until("ab", 1).await;
    assert_eq!(bench.step().await, "aabb");
    assert_eq!(bench.step().await, "aabb");
    assert_eq!(bench.step().await, "aa");
    // The short one is answered while the long one goes on.
    let answer = ended(short.await);
    assert_eq!((&answer.outcomes[..], answer.batch_rows), (&[said("b2")][..], 4));
    for _ in 0..6 {
        bench.go.send(()).unwrap();
    }
    let answer = ended(long.await);
    assert_eq!((&answer.outcomes[..], answer.batch_rows), (&[said("a9")][..], 4));
}

#[tokio::test]
async fn windows_of_a_sample_follow_one_another_and_none_has_no_answer_but_silence() {
    let mut bench = bench(8);
    let some = bench.send(&["a12", "b", "c1"]);
    bench.entered().await;
    for _ in 0..6 {
        bench.go.send(()).unwrap();
    }
    let answer = ended(some.await);
    assert_eq!(answer.outcomes, [said("a12"), said("b"), said("c1")]);
    assert_eq!(bench.encoded().chars().filter(|&letter| letter == 'a').count(), 2);
    let silent = ended(bench.send(&["d"]).await);
    assert_eq!((silent.outcomes, silent.batch_rows), (vec![said("d")], 0));
}

fn more(text: &str) -> Piece {
    Piece::Text(Fragment { text: text.to_owned(), ..Fragment::default() })
}

#[tokio::test]
async fn texts_are_streamed_item_by_item_as_windows_end() {
    let mut bench = bench(8);
    let mut request = request(&["a12"]);
    request.params.insert("stream", ParamValue::Bool(true), "/stream".to_owned());
    let Ok(Reply::Stream(mut pieces)) = bench.endpoint.predict(request).await else {
        panic!("a stream")
    };
    bench.entered().await;
    // The first window is told while the second is still to come.
    bench.step().await;
    assert_eq!(pieces.next().await.unwrap().unwrap(), more("a1"));
    for _ in 0..4 {
        let _ = bench.go.send(());
    }
    assert_eq!(pieces.next().await.unwrap().unwrap(), more(" a2"));
    let Some(Ok(Piece::End(answer))) = pieces.next().await else { panic!("an end") };
    assert_eq!(answer.outcomes, [said("a12")]);
    assert!(pieces.next().await.is_none());

    let mut two = self::request(&["a1", "b1"]);
    two.params.insert("stream", ParamValue::Bool(true), "/stream".to_owned());
    let refused = bench.endpoint.predict(two).await.err().unwrap();
    assert_eq!(refused.kind, Kind::Unsupported);
}

#[tokio::test]
async fn who_has_left_or_is_late_is_dropped_between_steps_and_not_encoded() {
    let mut bench = bench(2);
    let long = bench.send(&["a9"]);
    bench.entered().await;
    let leaving = bench.send(&["b9"]);
    bench.until("ab", 1).await;
    assert_eq!(bench.step().await, "aabb");
    // Both places are taken: this one waits for the encoder.
    let waiting = bench.send(&["c1"]);
    bench.until("ab", 1).await;
    for gone in [leaving, waiting] {
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
    }
    let late = bench.send_by(&["d9"], Instant::now() + Duration::from_millis(20));
    assert_eq!(late.await.unwrap().unwrap_err().kind, Kind::DeadlineExceeded);
    let last = bench.send(&["f1"]);
    bench.until("ab", 3).await;
    assert_eq!(bench.step().await, "aa");
    // Its place is free since this step began.
    if bench.step().await == "aa" {
        bench.until("abf", 1).await;
        assert_eq!(bench.step().await, "aaff");
    }
    assert_eq!(bench.encoded(), "abf");
    for _ in 0..9 {
        bench.go.send(()).unwrap();
    }
    assert_eq!(ended(last.await).outcomes, [said("f1")]);
    assert_eq!(ended(long.await).outcomes, [said("a9")]);
}

#[tokio::test]
async fn a_step_that_panics_loses_its_sequences_and_no_other() {
    let mut bench = bench(8);
    let first = bench.send(&["a9"]);
    bench.entered().await;
    let bad = bench.send(&["s9"]);
    bench.until("as", 1).await;
    assert_eq!(bench.step().await, "aass");
    let other = bench.send(&["b1"]);
    bench.until("asb", 1).await;
    assert_eq!(bench.step().await, "bb");
    for lost in [first, bad] {
        assert_eq!(lost.await.unwrap().unwrap_err().kind, Kind::Internal);
    }
    bench.go.send(()).unwrap();
    assert_eq!(ended(other.await).outcomes, [said("b1")]);
}

#[tokio::test]
async fn what_fails_by_itself_is_lost_alone() {
    let mut bench = bench(8);
    let good = bench.send(&["a3"]);
    bench.entered().await;
    let bad = ["t1", "e1", "p1"].map(|word| bench.send(&[word]));
    for _ in 0..5 {
        bench.go.send(()).unwrap();
    }
    for bad in bad {
        assert_eq!(bad.await.unwrap().unwrap_err().kind, Kind::Internal);
    }
    assert_eq!(ended(good.await).outcomes, [said("a3")]);
    // No place is lost with them.
    let many = bench.send(&["b1"; 9]);
    for _ in 0..9 {
        bench.go.send(()).unwrap();
    }
    assert_eq!(ended(many.await).outcomes.len(), 9);
}

#[tokio::test]
async fn places_are_bounded_and_many_parts_of_one_request_hold_up_no_other() {
    let mut bench = bench(3);
    let long = bench.send(&["z9"]);
    assert_eq!(bench.entered().await, "zz");
    let parts = bench.send(&["a1", "b5", "c1", "d1"]);
    bench.until("zab", 4).await;
    let other = bench.send(&["x1"]);
    bench.until("zab", 5).await;
    assert_eq!(bench.step().await, "zzaabb");
    // One part leaves and one is under way; the other request has none, so it is before those that came first.
    let rows = bench.step().await;
    assert!(rows.starts_with("zzbb"), "{rows}");
    while bench.encoded() == "zab" {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.encoded(), "zabx");
    for _ in 0..12 {
        bench.go.send(()).unwrap();
    }
    assert_eq!(ended(other.await).outcomes, [said("x1")]);
    assert_eq!(ended(long.await).outcomes, [said("z9")]);
    let answer = ended(parts.await);
    assert_eq!(answer.outcomes, ["a1", "b5", "c1", "d1"].map(said));
    assert_eq!(answer.batch_rows, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_and_nobody_gets_another_s_words() {
    let engine = Engine::start(3).unwrap();
    let network = Arc::new(Counter { encoded: Mutex::default(), gate: None });
    let queue_wait_max = Duration::from_mins(1);
    let limits =
        Limits { batch_rows_max: 4, queue_rows_max: 10_000, queue_wait_max, ..Limits::default() };
    let endpoint: Arc<dyn Endpoint> =
        engine.encoder_decoder(manner("counter", limits), network, Words).into();
    let requests = (0..200_u32).map(|i| {
        let letter = char::from_digit(10 + i % 4, 14).unwrap();
        let words = [format!("{letter}{}{}", i % 7 + 1, i % 3 + 1), format!("x{}", i % 9 + 1)];
        let endpoint = Arc::clone(&endpoint);
        let answer = tokio::spawn(async move {
            let request = request(&words.each_ref().map(String::as_str));
            let answer = whole(&*endpoint, request).await;
            assert_eq!(answer.unwrap().outcomes, words.map(|word| said(&word)));
        });
        // Some do not wait for it.
        if i % 5 == 0 {
            answer.abort();
        }
        answer
    });
    for answer in requests.collect::<Vec<_>>() {
        if let Err(error) = answer.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
    assert_eq!(endpoint.stats().queued.load(Ordering::Relaxed), 0);
    assert!(engine.alive());
}
