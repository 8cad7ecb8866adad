//! The engine with tiny networks whose pace the test decides.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::domain::{Answer, Item, Kind, Outcome, ParamValue, Params, Payload, Priority, Problem};

mod generation;

pub use generation::{Alphabet, Letters, ask, text};

/// Doubles numbers. A batch waits for the test's word; a 13 in it makes it panic.
struct Doubler {
    entered: UnboundedSender<()>,
    go: Mutex<Receiver<()>>,
    seen: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl Network for Doubler {
    type Sample = u32;
    type Output = u32;

    /// Of a number from a hundred on, its hundreds.
    fn cost(&self, number: &u32) -> usize {
        (*number as usize / 100).max(1)
    }

    fn pads(&self) -> bool {
        false
    }

    fn run(&self, batch: &[&u32]) -> Result<Vec<u32>, RunError> {
        let _ = self.entered.send(());
        self.go.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv().unwrap();
        self.seen.lock().unwrap().push(batch.iter().map(|&&n| n).collect());
        assert!(!batch.contains(&&13), "a number that this network cannot bear");
        Ok(batch.iter().map(|&&n| n * 2).collect())
    }
}

/// Reads numbers from text, one item each.
struct Numbers;

impl Codec for Numbers {
    type Sample = u32;
    type Output = u32;
    type Ask = ();

    fn decode(&self, payload: Payload, _: &Params) -> Result<(Vec<u32>, ()), Problem> {
        let number = |(item, at): (Item, String)| match item {
            Item::Text(text) => text
                .parse()
                .map_err(|_| Problem::fault(Kind::InvalidInput, at, "a number", text, "")),
            other => Err(Problem::new(Kind::UnsupportedMedia, other.kind())),
        };
        Ok((payload.into_pairs().map(number).collect::<Result<_, _>>()?, ()))
    }

    fn encode(&self, outputs: Vec<u32>, (): &()) -> Result<Vec<Outcome>, Problem> {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        Ok(outputs.into_iter().map(|n| Outcome::Values { values: vec![n as f32] }).collect())
    }
}

struct Bench {
    endpoint: Arc<dyn Endpoint>,
    go: Sender<()>,
    entered: UnboundedReceiver<()>,
    seen: Arc<Mutex<Vec<Vec<u32>>>>,
    _engine: Engine,
}

pub fn manner(name: &str, limits: Limits) -> Manner<'_> {
    Manner { name, limits, within: None }
}

fn bench(limits: Limits) -> Bench {
    bench_of(1, limits, None)
}

/// With so many threads in each lane.
fn bench_of(threads: usize, limits: Limits, probe: Option<u32>) -> Bench {
    let engine = Engine::start(threads).unwrap();
    let (go, gate) = channel();
    let seen = Arc::default();
    let (enter, entered) = unbounded_channel();
    let network = Doubler { entered: enter, go: Mutex::new(gate), seen: Arc::clone(&seen) };
    let endpoint = Arc::from(engine.one_shot(manner("doubler", limits), network, Numbers, probe));
    Bench { endpoint, go, entered, seen, _engine: engine }
}

pub fn request(texts: &[&str]) -> Request {
    let items = texts.iter().map(|text| Item::Text((*text).to_owned())).collect();
    let pointers = (0..texts.len()).map(|i| format!("/inputs/{i}")).collect();
    Request {
        payload: Payload { items, pointers },
        params: Params::default(),
        deadline: Instant::now() + Duration::from_secs(30),
        priority: Priority::default(),
    }
}

pub async fn whole(endpoint: &dyn Endpoint, request: Request) -> Result<Answer, Problem> {
    match endpoint.predict(request).await? {
        Reply::Whole(answer) => Ok(answer),
        Reply::Stream(_) => panic!("expected a whole answer"),
    }
}

impl Bench {
    fn send(&self, texts: &[&str]) -> tokio::task::JoinHandle<Result<Answer, Problem>> {
        let (endpoint, request) = (Arc::clone(&self.endpoint), request(texts));
        tokio::spawn(async move { whole(&*endpoint, request).await })
    }

    /// Until `count` rows wait. The worker has taken none of them while its gate is shut.
    async fn queued(&self, count: usize) {
        while self.endpoint.stats().queued.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }

    /// A request whose batch has begun and waits at the gate.
    async fn occupied(&mut self) -> tokio::task::JoinHandle<Result<Answer, Problem>> {
        let first = self.send(&["1"]);
        self.entered.recv().await.unwrap();
        first
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.seen.lock().unwrap().clone()
    }
}

fn values(answer: &Answer) -> Vec<f32> {
    let value = |outcome: &Outcome| match outcome {
        Outcome::Values { values } => values[0],
        other => panic!("{other:?}"),
    };
    answer.outcomes.iter().map(value).collect()
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_split_and_joined_in_order() {
    let bench = bench(Limits { batch_rows_max: 2, ..Limits::default() });
    let texts = ["1", "2", "3", "4", "5"];
    for _ in 0..3 {
        bench.go.send(()).unwrap();
    }
    let answer = whole(&*bench.endpoint, request(&texts)).await.unwrap();
    assert_eq!(values(&answer), [2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(bench.batches(), [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(answer.batch_rows, 2);
}

#[tokio::test]
async fn a_busy_network_batches_what_waits() {
    let mut bench = bench(Limits::default());
    let first = bench.occupied().await;
    let others: Vec<_> = ["2", "3", "4"].iter().map(|text| bench.send(&[text])).collect();
    bench.queued(3).await;
    bench.go.send(()).unwrap();
    bench.go.send(()).unwrap();
    first.await.unwrap().unwrap();
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().batch_rows, 3);
    }
    assert_eq!(bench.batches().len(), 2);
}

#[tokio::test]
async fn a_panic_loses_its_batch_and_nothing_else() {
    let bench = bench(Limits::default());
    bench.go.send(()).unwrap();
    let problem = whole(&*bench.endpoint, request(&["13"])).await.unwrap_err();
    assert_eq!(problem.kind, Kind::Internal);
    bench.go.send(()).unwrap();
    let answer = whole(&*bench.endpoint, request(&["4"])).await.unwrap();
    assert_eq!(values(&answer), [8.0]);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place_and_is_never_run() {
    let mut bench = bench(Limits { queue_rows_max: 1, ..Limits::default() });
    let first = bench.occupied().await;
    let second = bench.send(&["2"]);
    bench.queued(1).await;
    let refused = bench.send(&["3"]).await.unwrap().unwrap_err();
    assert_eq!(refused.kind, Kind::Overloaded);
    assert!(refused.retry_after.is_some());
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    bench.go.send(()).unwrap();
    first.await.unwrap().unwrap();
    bench.queued(0).await;
    bench.go.send(()).unwrap();
    whole(&*bench.endpoint, request(&["4"])).await.unwrap();
    assert_eq!(bench.batches(), [vec![1], vec![4]]);
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let bench = bench(Limits::default());
    let request =
        Request { deadline: Instant::now() + Duration::from_millis(20), ..request(&["1"]) };
    let problem = whole(&*bench.endpoint, request).await.unwrap_err();
    assert_eq!(problem.kind, Kind::DeadlineExceeded);
    bench.go.send(()).unwrap();
}

#[tokio::test]
async fn an_urgent_request_goes_before_those_that_came_first() {
    let mut bench = bench(Limits { batch_rows_max: 1, ..Limits::default() });
    let first = bench.occupied().await;
    let patient = bench.send(&["2"]);
    bench.queued(1).await;
    let endpoint = Arc::clone(&bench.endpoint);
    let urgent = Request { priority: Priority::new(1).unwrap(), ..request(&["3"]) };
    let urgent = tokio::spawn(async move { whole(&*endpoint, urgent).await });
    bench.queued(2).await;
    for _ in 0..3 {
        bench.go.send(()).unwrap();
    }
    for answer in [first, patient, urgent] {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(bench.batches(), [[1], [3], [2]]);
}

#[tokio::test]
async fn a_batch_waits_to_fill_while_another_runs() {
    let delay = Duration::from_hours(1);
    let limits = Limits { batch_rows_max: 2, batch_delay_max: delay, ..Limits::default() };
    let mut bench = bench_of(2, limits, None);
    // Nothing runs: the first does not wait.
    let first = bench.occupied().await;
    let second = bench.send(&["2"]);
    bench.queued(1).await;
    // The second thread is free, but only a full batch goes before the hour is over.
    let third = bench.send(&["3"]);
    bench.entered.recv().await.unwrap();
    bench.go.send(()).unwrap();
    bench.go.send(()).unwrap();
    for answer in [first, second, third] {
        answer.await.unwrap().unwrap();
    }
    let mut batches = bench.batches();
    batches.sort();
    assert_eq!(batches, [vec![1], vec![2, 3]]);
}

/// Done by whoever asks, on threads that the gate holds: so there are some.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_row_of_some_microseconds_waits_for_no_other() {
    let delay = Duration::from_hours(1);
    let limits = Limits { batch_rows_max: 2, batch_delay_max: delay, ..Limits::default() };
    let mut bench = bench_of(2, limits, None);
    let curve = Curve { points: vec![Point { rows: 1, cost: 1, nanos: 10_000 }] };
    bench.endpoint.batches().unwrap().adopt(&curve);
    let first = bench.occupied().await;
    let second = bench.send(&["2"]);
    let entered = tokio::time::timeout(Duration::from_secs(20), bench.entered.recv()).await;
    assert_eq!(entered, Ok(Some(())), "it waits to fill a batch");
    bench.go.send(()).unwrap();
    bench.go.send(()).unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_good_batch_is_as_large_by_its_cost_as_the_one_that_was_measured() {
    let mut bench = bench(Limits { batch_auto: true, ..Limits::default() });
    let point = |rows, nanos| Point { rows, cost: rows, nanos };
    let curve = Curve { points: vec![point(1, 1_000_000), point(4, 1_400_000)] };
    bench.endpoint.batches().unwrap().adopt(&curve);
    let mut answers = vec![bench.occupied().await];
    for (waiting, text) in ["300", "2", "3", "4", "5", "6", "900"].into_iter().enumerate() {
        answers.push(bench.send(&[text]));
        bench.queued(waiting + 1).await;
    }
    for answer in answers {
        bench.go.send(()).unwrap();
        answer.await.unwrap().unwrap();
    }
    assert_eq!(bench.batches(), [vec![1], vec![300, 2], vec![3, 4, 5, 6], vec![900]]);
}

#[tokio::test]
async fn a_row_that_comes_while_a_batch_runs_gets_a_thread_that_is_free() {
    let mut bench = bench_of(2, Limits::default(), None);
    let first = bench.occupied().await;
    let second = bench.send(&["2"]);
    bench.entered.recv().await.unwrap();
    bench.go.send(()).unwrap();
    bench.go.send(()).unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn short_work_does_not_wait_for_long_work() {
    let engine = Engine::start(1).unwrap();
    let curve = |nanos| Curve { points: vec![Point { rows: 1, cost: 1, nanos }] };
    let (enter, mut entered) = unbounded_channel();
    let ((go_long, gate_long), (go_short, gate_short)) = (channel(), channel());
    let seen: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let model = |gate, nanos| -> Arc<dyn Endpoint> {
        let doubler =
            Doubler { entered: enter.clone(), go: Mutex::new(gate), seen: Arc::clone(&seen) };
        let endpoint =
            engine.one_shot(manner("doubler", Limits::default()), doubler, Numbers, None);
        endpoint.batches().unwrap().adopt(&curve(nanos));
        endpoint.into()
    };
    let (long, short) = (model(gate_long, 50_000_000), model(gate_short, 1_000_000));
    let slow = tokio::spawn(async move { whole(&*long, request(&["1"])).await });
    entered.recv().await.unwrap();
    // The only thread of the long lane is at work.
    go_short.send(()).unwrap();
    whole(&*short, request(&["2"])).await.unwrap();
    go_long.send(()).unwrap();
    slow.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_network_that_panics_again_and_again_rests() {
    let bench = bench(Limits::default());
    for _ in 0..3 {
        assert!(bench.endpoint.rest().is_none());
        bench.go.send(()).unwrap();
        let problem = whole(&*bench.endpoint, request(&["13"])).await.unwrap_err();
        assert_eq!(problem.kind, Kind::Internal);
    }
    let problem = whole(&*bench.endpoint, request(&["1"])).await.unwrap_err();
    assert_eq!(problem.kind, Kind::Unavailable);
    assert!(problem.retry_after.is_some_and(|wait| wait <= Duration::from_mins(1)));
    assert!(bench.endpoint.rest().is_some());
    assert_eq!(bench.endpoint.stats().refusals(Cause::Resting), 1);
}

#[tokio::test]
async fn batches_are_measured_in_idle_time() {
    let bench = bench_of(1, Limits { batch_rows_max: 4, ..Limits::default() }, Some(7));
    let (send, measured) = channel();
    bench
        .endpoint
        .batches()
        .unwrap()
        .calibrate(Box::new(move |curve| send.send(curve.clone()).unwrap()));
    // Five passes of each size.
    for _ in 0..15 {
        bench.go.send(()).unwrap();
    }
    let curve = tokio::task::spawn_blocking(move || measured.recv().unwrap()).await.unwrap();
    assert_eq!(curve.points.iter().map(|point| point.rows).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(bench.endpoint.stats().rows.load(Ordering::Relaxed), 0, "nobody asked for these");
}

#[tokio::test]
async fn bad_input_is_refused_before_the_queue() {
    let bench = bench(Limits::default());
    let problem = whole(&*bench.endpoint, request(&["1", "x"])).await.unwrap_err();
    assert_eq!(problem.faults[0].pointer, "/inputs/1");
    assert!(bench.batches().is_empty());
}

#[tokio::test]
async fn a_long_queue_takes_no_more_turns_than_a_short_one() {
    let engine = Engine::start(1).unwrap();
    let (go, gate) = channel();
    let (enter, mut entered) = unbounded_channel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let doubler = Doubler { entered: enter, go: Mutex::new(gate), seen: Arc::clone(&seen) };
    let limits = Limits { batch_rows_max: 1, ..Limits::default() };
    let flooded: Arc<dyn Endpoint> =
        engine.one_shot(manner("flooded", limits), doubler, Numbers, None).into();
    let quick: Arc<dyn Endpoint> =
        engine.stepwise(manner("quick", Limits::default()), Alphabet, Letters).into();
    let mut flood = Vec::new();
    for _ in 0..20 {
        let (endpoint, request) = (Arc::clone(&flooded), request(&["1"]));
        flood.push(tokio::spawn(async move { whole(&*endpoint, request).await }));
    }
    entered.recv().await.unwrap();
    while flooded.stats().queued.load(Ordering::Relaxed) < 19 {
        tokio::task::yield_now().await;
    }
    let one = ("max_tokens", ParamValue::Number(1.0));
    let other = Arc::clone(&quick);
    let asked = tokio::spawn(async move { whole(&*other, ask(&["a"], &[one])).await });
    while quick.stats().queued.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // The batch under way ends, and then it is the other model's turn, whatever waits before it.
    go.send(()).unwrap();
    asked.await.unwrap().unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    for _ in 1..20 {
        go.send(()).unwrap();
    }
    for request in flood {
        request.await.unwrap().unwrap();
    }
}
