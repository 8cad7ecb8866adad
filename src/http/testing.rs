//! A server with models that do as they are told, for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request as HttpRequest, StatusCode};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::access::Access;
use crate::config::{Compat, HttpSettings};
use crate::domain::{
    Answer, Card, Class, Datatype, Digest, Evidence, Finish, Fragment, Kind, MediaLimits, Outcome,
    Piece, Problem, Scores, Segment, State, Status, TensorSpec, Timings, Word,
};
use crate::engine::{Batches, Endpoint, Engine, Limits, ModelStats, Reply, Request, Rest};
use crate::http::{App, Listener, Parts, Stage, router};
use crate::registry::{Model, Registry, Repository, Slot, Sources};
use crate::state::Database;
use crate::telemetry::{Logging, Metrics};

pub fn limits() -> HttpSettings {
    HttpSettings {
        body_bytes_max: 64 << 10,
        connections_max: 8,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(75),
        deadline_default: Duration::from_secs(30),
        deadline_max: Duration::from_mins(1),
        caller_requests_per_s_max: 0,
    }
}

pub fn media() -> MediaLimits {
    MediaLimits { items_max: 4, tensor_values_max: 64, text_bytes_max: 256, ..Default::default() }
}

/// What a model of the tests does with a request.
#[derive(Clone, Copy)]
enum Deed {
    /// Labels each item with what it is; honours `top_k` and `stop`.
    Echo,
    Stick,
    Panic,
    Refuse,
    /// Hears the same in everything; honours `timestamps`, `temperature`, `language` and `prompt`.
    Hear,
    /// As it hears, in two pieces and an end; with `temperature`, a problem instead of the end.
    HearOn,
    /// Streams two pieces and an end; with `seed`, a problem instead of the end.
    Stream,
}

struct Fake {
    deed: Deed,
    stats: ModelStats,
}

impl Endpoint for Fake {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        let deed = self.deed;
        async move {
            match deed {
                Deed::Echo => echo(request),
                Deed::Hear => hear(&request),
                Deed::HearOn => hear_on(&request),
                Deed::Stick => std::future::pending().await,
                Deed::Panic => panic!("told to"),
                Deed::Refuse => Err(Problem::new(Kind::Overloaded, "the queue is full")
                    .retry_after(Duration::from_millis(2500))),
                Deed::Stream => Ok(streamed(&request)),
            }
        }
        .boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.stats
    }

    fn streams(&self) -> bool {
        matches!(self.deed, Deed::Stream | Deed::HearOn)
    }

    fn rest(&self) -> Option<Rest> {
        None
    }

    fn batches(&self) -> Option<&dyn Batches> {
        None
    }
}

fn echo(request: Request) -> Result<Reply, Problem> {
    let mut reader = request.params.reader();
    let top_k = reader.integer("top_k", 1..=10).unwrap_or(0);
    let stop = reader.texts("stop", 4, 9).unwrap_or_default();
    reader.finish()?;
    let outcomes = request.payload.into_pairs().map(|(item, pointer)| Outcome::Classes {
        predictions: vec![Class {
            label: format!("{pointer}: {item:?} {stop:?}"),
            index: usize::try_from(top_k).unwrap(),
            score: 0.5,
        }],
        all: Scores { values: vec![0.25, 0.5], labels: ["no", "yes"].map(str::to_owned).into() },
    });
    Ok(Reply::Whole(answer(outcomes.collect())))
}

/// Two segments, the words of the first, and what was asked in place of the second's text.
fn hear(request: &Request) -> Result<Reply, Problem> {
    let mut reader = request.params.reader();
    let level = reader.choice("timestamps", &["segment", "word"]);
    reader.choice("task", &["transcribe"]);
    let warm = reader.number("temperature", 0.0..=1.0);
    let language = reader.texts("language", 1, 9);
    let prompt = reader.texts("prompt", 1, 99);
    reader.finish()?;
    let asked = format!("{level:?} {warm:?} {language:?} {prompt:?}");
    let evidence = Evidence {
        seek: 150,
        tokens: vec![7, 9],
        temperature: 0.5,
        log_probability: -0.25,
        compression: 0.75,
        no_speech: 0.125,
    };
    let segment = |start, end, text: &str| Segment {
        start,
        end,
        text: text.to_owned(),
        evidence: evidence.clone(),
    };
    let word = Word { word: "one".into(), start: 0.5, end: 1.0, confidence: 0.875 };
    let outcome = Outcome::Transcript {
        text: format!("one {asked}"),
        words: vec![word],
        segments: if level.is_some() {
            vec![segment(0.5, 1.0, "one"), segment(1.5, 2.25, &asked)]
        } else {
            Vec::new()
        },
        language: None,
        duration: 2.5,
    };
    Ok(Reply::Whole(answer(vec![outcome])))
}

fn hear_on(request: &Request) -> Result<Reply, Problem> {
    let mut reader = request.params.reader();
    let streams = reader.flag("stream");
    let warm = reader.number("temperature", 0.0..=1.0);
    reader.finish()?;
    assert_eq!(streams, Some(true));
    let (words, segments, language, duration) = (Vec::new(), Vec::new(), None, 1.0);
    let heard = Outcome::Transcript { text: "a b".into(), words, segments, language, duration };
    let end = match warm {
        None => Ok(Piece::End(answer(vec![heard]))),
        Some(_) => Err(Problem::new(Kind::Internal, "the network failed")),
    };
    let pieces = vec![Ok(more("a")), Ok(more(" b")), end];
    Ok(Reply::Stream(stream::iter(pieces).boxed()))
}

fn answer(outcomes: Vec<Outcome>) -> Answer {
    let timings = Timings {
        pre: Duration::from_micros(1500),
        queue: Duration::from_nanos(250_400),
        infer: Duration::from_millis(3),
        post: Duration::ZERO,
        tokens: None,
    };
    Answer { outcomes, timings, batch_rows: 2 }
}

fn more(text: &str) -> Piece {
    Piece::Text(Fragment { text: text.into(), ..Fragment::default() })
}

fn streamed(request: &Request) -> Reply {
    let generated = Outcome::Generated {
        text: "ab".into(),
        tokens: Vec::new(),
        finish_reason: Finish::Length,
        prompt_tokens: 1,
        completion_tokens: 2,
        seed: 7,
    };
    let end = if request.params.pointer("seed").is_none() {
        Ok(Piece::End(answer(vec![generated])))
    } else {
        Err(Problem::new(Kind::Internal, "the network failed"))
    };
    let pieces = vec![Ok(more("a")), Ok(more("b")), end];
    Reply::Stream(stream::iter(pieces).boxed())
}

/// A server and the hands to work it.
pub struct Server {
    pub registry: Arc<Registry>,
    pub stage: watch::Sender<Stage>,
    pub main: Router,
    pub admin: Router,
    pub app: Arc<App>,
    /// Removed with the server.
    _state: TempDir,
}

impl Server {
    /// Open, with every model ready.
    pub fn new() -> Self {
        Self::with(Access::default(), limits())
    }

    pub fn with(access: Access, limits: HttpSettings) -> Self {
        let registry = Arc::new(Registry::default());
        for (name, task, deed) in [
            ("echo", "image-classification", Deed::Echo),
            ("stuck", "image-classification", Deed::Stick),
            ("panics", "image-classification", Deed::Panic),
            ("full", "speech-recognition", Deed::Refuse),
            ("hears", "speech-recognition", Deed::Hear),
            ("follows", "speech-recognition", Deed::HearOn),
            ("talker", "text-generation", Deed::Stream),
        ] {
            registry.put(slot(name, task, deed));
        }
        let (stage, watching) = watch::channel(Stage::Serving);
        let directory = TempDir::new().unwrap();
        let database = Arc::new(Database::open(directory.path()).unwrap());
        let repository = Arc::new(Repository::new(Sources {
            registry: Arc::clone(&registry),
            stores: Vec::new(),
            engine: Arc::new(Engine::start(1).unwrap()),
            state: Arc::clone(&database),
            placement: Box::new(|_| unreachable!("no store holds a model")),
        }));
        let app = Arc::new(App::new(Parts {
            registry: Arc::clone(&registry),
            repository,
            access,
            state: database,
            logging: Logging::default(),
            metrics: Metrics::default(),
            limits,
            compat: Compat::TorchServe,
            media: media(),
            runtime: Handle::current(),
            stage: watching,
            live: Box::new(|| true),
        }));
        let main = router(Arc::clone(&app), Listener::Main);
        let admin = router(Arc::clone(&app), Listener::Admin);
        Self { registry, stage, main, admin, app, _state: directory }
    }

    pub async fn send(&self, request: HttpRequest<Body>) -> Got {
        Got::from(self.main.clone().oneshot(request).await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send(HttpRequest::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Got {
        let request = HttpRequest::post(path).header("content-type", content_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn json(&self, path: &str, body: &str) -> Got {
        self.post(path, "application/json", body.to_owned()).await
    }

    pub async fn metrics(&self) -> String {
        self.get("/metrics").await.text
    }
}

/// A version that is not ready.
pub fn unready(name: &str, state: State, required: bool) -> Slot {
    let status = Status { state, reason: Some("the weights are missing".into()) };
    Slot { status, model: None, required, ..slot(name, "image-classification", Deed::Echo) }
}

fn slot(name: &str, task: &str, deed: Deed) -> Slot {
    let card = Card {
        name: name.parse().unwrap(),
        version: 3.try_into().unwrap(),
        digest: Digest::new([0xab; 32]),
        task: task.into(),
        architecture: "fake".into(),
        description: String::new(),
        author: String::new(),
        licence: "MIT".into(),
        created: "2026-01-01T00:00:00Z".into(),
        inputs: vec![spec("input", task, 2)],
        outputs: vec![spec("output", task, 2)],
        metrics: std::iter::once(("accuracy".to_owned(), 0.9)).collect(),
    };
    let stats = ModelStats::default();
    stats.record_batch(3, Duration::from_millis(4));
    let model = Model {
        card: card.clone(),
        device: "cpu".into(),
        processor: "cpu".into(),
        load_time: Duration::from_millis(20),
        limits: Limits::default(),
        bytes: 0,
        endpoint: Box::new(Fake { deed, stats }),
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

/// Numbers for models of pictures, else texts.
fn spec(name: &str, task: &str, values: i64) -> TensorSpec {
    let numbers = task.starts_with("image");
    let (datatype, size) = if numbers { (Datatype::Fp32, values) } else { (Datatype::Bytes, 1) };
    TensorSpec { name: name.to_owned(), datatype, shape: vec![size] }
}

/// A response, read whole.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub bytes: Vec<u8>,
}

impl Got {
    pub async fn from(response: axum::response::Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: head.status, headers: head.headers, text, bytes: bytes.to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Checks that this is a problem in the one shape, with this status, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert!(self.text.len() < 4096);
        let value = self.value();
        assert_eq!(value["status"], status);
        assert!(value["type"].as_str().unwrap().starts_with("urn:maas:error:"));
        let instance = format!("/requests/{}", self.header("x-request-id"));
        assert_eq!(value["instance"], instance);
        value
    }
}
