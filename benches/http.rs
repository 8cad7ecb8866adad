//! The HTTP path: reading bodies, writing answers, and the whole way through the router without a
//! network and without a model that computes.

#![expect(clippy::expect_used, reason = "a bench stops at what does not work")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request as HttpRequest};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use maas::access::Access;
use maas::config::{Compat, HttpSettings};
use maas::domain::{
    Answer, Card, Class, Datatype, Digest, Item, MediaLimits, Outcome, Problem, Scores, State,
    Status, Tensor, TensorSpec, Timings,
};
use maas::engine::{Batches, Endpoint, Engine, Limits, ModelStats, Reply, Request, Rest};
use maas::http::parse::oip::{JSON_LENGTH, Wire as Inference};
use maas::http::parse::{Wire, parse};
use maas::http::{App, Listener, Parts, Stage, router};
use maas::oip;
use maas::registry::{Model, Registry, Repository, Slot, Sources};
use maas::state::Database;
use maas::telemetry::{Logging, Metrics};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;

// A picture of LeNet, and one of EfficientNet.
const SHAPES: [[usize; 3]; 2] = [[3, 32, 32], [3, 224, 224]];

/// Values between 0 and 1, the same ones each time.
fn values(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(0x3f80_0000 | state >> 9) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// As few digits as tell the floats apart, or as many as numpy writes of the same numbers as doubles.
fn document(shape: &[usize], wide: bool) -> Bytes {
    let mut text = format!("{{\"inputs\":{{\"shape\":{shape:?},\"data\":[");
    for (index, value) in values(shape.iter().product()).into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = if wide {
            write!(text, "{comma}{}", f64::from(value))
        } else {
            write!(text, "{comma}{value}")
        };
    }
    text.push_str("]}}");
    text.into()
}

fn json() -> &'static str {
    "application/json"
}

fn read(body: Bytes) -> usize {
    let content_type = Some(json().parse().expect("a header"));
    let wire = Wire { content_type, query: Vec::new(), path_names_model: true, body };
    let parsed = parse(wire, &MediaLimits::default()).now_or_never().expect("nothing is awaited");
    parsed.expect("a document").payload.items.len()
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for shape in SHAPES {
        let count: usize = shape.iter().product();
        for (name, wide) in [("json/short", false), ("json/wide", true)] {
            let body = document(&shape, wide);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter_batched(|| body.clone(), read, BatchSize::SmallInput);
            });
        }
        let bytes: Vec<u8> = values(count).iter().flat_map(|value| value.to_le_bytes()).collect();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("binary", count), |b| {
            b.iter(|| Tensor::from_le_bytes(shape.to_vec(), black_box(&bytes)).expect("fits"));
        });
    }
    group.finish();
}

/// A tensor of the Open Inference Protocol, from the body to what a model reads.
fn tensors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("oip");
    let [_, shape] = SHAPES;
    let count: usize = shape.iter().product();
    let sizes = shape.map(|size| size.try_into().expect("a size"));
    let spec = TensorSpec { name: "x".into(), datatype: Datatype::Fp32, shape: sizes.to_vec() };
    let card = card(vec![spec]);
    let head = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3,224,224],"#;
    let json = String::from_utf8(document(&[count], false).to_vec()).expect("text");
    let data = json.split_once("\"data\":").expect("data").1.trim_end_matches('}');
    let json = Bytes::from(format!("{head}\"data\":{data}}}]}}"));
    let start = format!("{head}\"parameters\":{{\"binary_data_size\":{}}}}}]}}", 4 * count);
    let bytes = values(count).into_iter().flat_map(f32::to_le_bytes);
    let binary: Bytes = start.bytes().chain(bytes).collect();
    let mut lengths = HeaderMap::new();
    lengths.insert(JSON_LENGTH, start.len().into());
    let limits = MediaLimits::default();
    for (name, headers, body) in [("json", HeaderMap::new(), json), ("binary", lengths, binary)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new(name, count), |b| {
            b.iter(|| {
                let wire = Inference::new(black_box(&headers), body.clone()).expect("a body");
                let request = wire.read(&card, &limits).expect("a request");
                oip::payload(request.inputs, &card, &limits).expect("a payload")
            });
        });
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    for count in [384, 3072] {
        let embedding = Outcome::Embedding { embedding: values(count), tokens: 16 };
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("floats", count), |b| {
            b.iter(|| serde_json::to_string(black_box(&embedding)).expect("JSON").len());
        });
    }
    group.finish();
}

/// Answers at once with five classes.
#[derive(Default)]
struct Instant(ModelStats);

impl Endpoint for Instant {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        let first = match &request.payload.items[..] {
            [Item::Tensor(tensor)] => tensor.data()[0],
            _ => 0.0,
        };
        let class = |index| Class { label: "a".to_owned(), index, score: first };
        let outcomes = vec![Outcome::Classes {
            predictions: (0..5).map(class).collect(),
            all: Scores::default(),
        }];
        let reply = Reply::Whole(Answer { outcomes, timings: Timings::default(), batch_rows: 1 });
        std::future::ready(Ok(reply)).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.0
    }

    fn streams(&self) -> bool {
        false
    }

    fn rest(&self) -> Option<Rest> {
        None
    }

    fn batches(&self) -> Option<&dyn Batches> {
        None
    }
}

const LIMITS: Limits = Limits {
    batch_rows_max: 1,
    batch_cost_max: 1,
    batch_delay_max: Duration::ZERO,
    batch_auto: false,
    queue_rows_max: 1,
    queue_wait_max: Duration::ZERO,
    instances: 1,
    weight: 1,
    generated_tokens_max: 1,
};

fn card(inputs: Vec<TensorSpec>) -> Card {
    Card {
        name: "instant".parse().expect("a name"),
        version: 1.try_into().expect("a version"),
        digest: Digest::new([7; 32]),
        task: "image-classification".to_owned(),
        architecture: "none".to_owned(),
        description: String::new(),
        author: String::new(),
        licence: String::new(),
        created: String::new(),
        inputs,
        outputs: Vec::new(),
        metrics: std::iter::empty().collect(),
    }
}

fn slot() -> Slot {
    let card = card(Vec::new());
    let model = Model {
        card: card.clone(),
        device: "cpu".to_owned(),
        processor: "cpu".to_owned(),
        load_time: Duration::ZERO,
        limits: LIMITS,
        bytes: 0,
        endpoint: Box::new(Instant::default()),
    };
    Slot {
        name: card.name.clone(),
        version: card.version,
        status: Status { state: State::Ready, reason: None },
        required: false,
        card: Some(card),
        model: Some(Arc::new(model)),
    }
}

/// The router of a server whose state is in `directory`.
fn server(directory: &std::path::Path, runtime: Handle, stage: watch::Receiver<Stage>) -> Router {
    let registry = Arc::new(Registry::default());
    registry.put(slot());
    let database = Arc::new(Database::open(directory).expect("a database"));
    let repository = Arc::new(Repository::new(Sources {
        registry: Arc::clone(&registry),
        stores: Vec::new(),
        engine: Arc::new(Engine::start(1).expect("threads")),
        state: Arc::clone(&database),
        placement: Box::new(|_| unreachable!("no store holds a model")),
    }));
    let app = App::new(Parts {
        registry,
        repository,
        access: Access::default(),
        state: database,
        logging: Logging::default(),
        metrics: Metrics::default(),
        limits: HttpSettings::default(),
        compat: Compat::None,
        media: MediaLimits::default(),
        runtime,
        stage,
        live: Box::new(|| true),
    });
    router(Arc::new(app), Listener::Main)
}

fn whole(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (_stage, watching) = watch::channel(Stage::Serving);
    let server = server(directory.path(), runtime.handle().clone(), watching);
    let mut group = criterion.benchmark_group("router");
    let get = || HttpRequest::get("/livez").body(Body::empty()).expect("a request");
    let body = document(&SHAPES[0], false);
    let post = || {
        HttpRequest::post("/v1/predict/instant")
            .header("content-type", json())
            .body(Body::from(body.clone()))
            .expect("a request")
    };
    let send = async |request: HttpRequest<Body>| {
        let response = server.clone().oneshot(request).await.expect("an answer");
        assert!(response.status().is_success());
    };
    group.bench_function("livez", |b| {
        b.iter_batched(get, |request| runtime.block_on(send(request)), BatchSize::SmallInput);
    });
    group.bench_function("predict/3072", |b| {
        b.iter_batched(post, |request| runtime.block_on(send(request)), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, bodies, tensors, answers, whole);
criterion_main!(benches);
