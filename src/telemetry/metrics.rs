//! The metrics of requests, in one table; those of models are in `models`.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Table;

use crate::config::MetricsCompat;
use crate::domain::{Kind, Timings};
use crate::engine::Traffic;
use crate::registry::{Model, Registry};
use crate::telemetry::exposition::{self, prometheus_text};
use crate::telemetry::models::Models;
use crate::telemetry::triton;
use crate::telemetry::workers::Workers;

/// Seconds. The lowest bounds tell apart what happens inside one small network.
const SECONDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// How a request ended, as the metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the labels are lower case, and are named here once")]
pub enum Outcome {
    ok,
    /// The caller's fault.
    invalid,
    /// Full, or not ready.
    rejected,
    /// The caller went away.
    cancelled,
    /// The deadline passed.
    timeout,
    /// Our fault.
    error,
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ok => "ok",
            Self::invalid => "invalid",
            Self::rejected => "rejected",
            Self::cancelled => "cancelled",
            Self::timeout => "timeout",
            Self::error => "error",
        }
    }
}

impl From<Kind> for Outcome {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::RateLimited | Kind::Overloaded | Kind::Loading | Kind::Unavailable => {
                Self::rejected
            }
            Kind::DeadlineExceeded => Self::timeout,
            Kind::StorageFull | Kind::Internal => Self::error,
            _ => Self::invalid,
        }
    }
}

/// One prediction that ended. `model` is `None` when no model of ours was asked: a name that a
/// stranger made up never becomes a label.
pub struct Finished<'a> {
    pub model: Option<&'a Model>,
    pub outcome: Outcome,
    pub duration: Duration,
    pub timings: Option<Timings>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    version: String,
    outcome: Outcome,
}

type Seconds = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// All metrics of this process.
pub struct Metrics {
    table: Table,
    requests: Family<RequestLabels, Counter>,
    duration: Seconds,
    queue: Seconds,
    preprocess: Seconds,
    infer: Seconds,
    postprocess: Seconds,
    first_token: Seconds,
    inter_token: Seconds,
    inflight: Gauge,
    workers: Option<Workers>,
    compat: MetricsCompat,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Seconds::new_with_constructor(|| Histogram::new(SECONDS));
        let mut metrics = Self {
            table: Table::with_prefix("maas"),
            requests: Family::default(),
            duration: seconds(),
            queue: seconds(),
            preprocess: seconds(),
            infer: seconds(),
            postprocess: seconds(),
            first_token: seconds(),
            inter_token: seconds(),
            inflight: Gauge::default(),
            workers: None,
            compat: MetricsCompat::None,
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// The table: a name, what it means, and where its value is.
    fn register(&mut self) {
        let table = &mut self.table;
        table.register("requests", "Predictions that ended, by outcome", self.requests.clone());
        table.register("inflight_requests", "Predictions in progress", self.inflight.clone());
        for (name, help, metric) in [
            ("request_duration_seconds", "From a prediction's head to its answer", &self.duration),
            ("queue_duration_seconds", "Waiting for a worker", &self.queue),
            ("preprocess_duration_seconds", "Decoding and feature extraction", &self.preprocess),
            ("infer_duration_seconds", "The network", &self.infer),
            ("postprocess_duration_seconds", "Turning outputs into an answer", &self.postprocess),
            ("time_to_first_token_seconds", "From arrival to the first token", &self.first_token),
            ("inter_token_seconds", "Mean time between tokens of a text", &self.inter_token),
        ] {
            table.register(name, help, metric.clone());
        }
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("git", option_env!("MAAS_REVISION").unwrap_or("unknown")),
        ];
        table
            .sub_registry_with_labels(build.into_iter().map(|(k, v)| (k.into(), v.into())))
            .register("build_info", "Which build this is", ConstGauge::new(1_i64));
    }

    /// Shows how busy the compute threads are, too.
    #[must_use]
    pub fn watching(self, traffic: Traffic) -> Self {
        Self { workers: Some(Workers::new(traffic)), ..self }
    }

    /// Adds what another server would call its metrics.
    #[must_use]
    pub fn in_words_of(self, compat: MetricsCompat) -> Self {
        Self { compat, ..self }
    }

    /// Counts a prediction as in progress.
    pub fn started(&self) {
        self.inflight.inc();
    }

    /// Counts a prediction that [`Metrics::started`] counted, and where its time went.
    pub fn finished(&self, finished: &Finished<'_>) {
        self.inflight.dec();
        let (model, version) = finished.model.map_or_else(Default::default, |model| {
            (model.card.name.to_string(), model.card.version.to_string())
        });
        let outcome = finished.outcome;
        if let Some(model) = finished.model {
            let timings = finished.timings.filter(|_| outcome == Outcome::ok);
            model.endpoint.stats().record_request(finished.duration, timings);
        }
        let labels = RequestLabels { model: model.clone(), version: version.clone(), outcome };
        self.requests.get_or_create(&labels).inc();
        let labels = ModelLabels { model, version };
        observe(&self.duration, &labels, finished.duration);
        if let Some(timings) = finished.timings {
            observe(&self.queue, &labels, timings.queue);
            observe(&self.preprocess, &labels, timings.pre);
            observe(&self.infer, &labels, timings.infer);
            observe(&self.postprocess, &labels, timings.post);
            if let Some(tokens) = timings.tokens {
                observe(&self.first_token, &labels, tokens.first);
                if let Some(between) = tokens.between {
                    observe(&self.inter_token, &labels, between);
                }
            }
        }
    }

    /// Requests to a model that ended so.
    fn ended(&self, model: &Model, outcome: Outcome) -> u64 {
        let (name, version) = (model.card.name.to_string(), model.card.version.to_string());
        let labels = RequestLabels { model: name, version, outcome };
        self.requests.get(&labels).map_or(0, |count| count.get())
    }

    /// Everything there is to scrape, with its media type.
    #[must_use]
    pub fn render(&self, models: &Registry) -> (&'static str, String) {
        let mut scrape = Table::with_prefix("maas");
        scrape.register_collector(Box::new(Models(models.list())));
        if let Some(workers) = &self.workers {
            let ratio = ConstGauge::new(workers.busy_ratio());
            scrape.register("executor_busy_ratio", "Share of the compute threads at work", ratio);
        }
        let mut open_metrics = String::new();
        // Writing to a String does not fail.
        let _ = text::encode_registry(&mut open_metrics, &self.table)
            .and_then(|()| text::encode_registry(&mut open_metrics, &scrape));
        let mut text = prometheus_text(&open_metrics);
        if self.compat == MetricsCompat::Triton {
            triton::write(&mut text, &models.list(), |model, outcome| self.ended(model, outcome));
        }
        (exposition::MEDIA_TYPE, text)
    }
}

fn observe(metric: &Seconds, labels: &ModelLabels, duration: Duration) {
    metric.get_or_create(labels).observe(duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_servers_names_are_there_when_asked_for() {
        let (_, text) = Metrics::default().render(&Registry::default());
        assert!(!text.contains("nv_"), "{text}");
        let metrics = Metrics::default().in_words_of(MetricsCompat::Triton);
        let (_, text) = metrics.render(&Registry::default());
        assert!(text.contains("# TYPE nv_inference_request_failure counter"), "{text}");
    }

    #[test]
    fn what_ended_is_counted_once() {
        let metrics = Metrics::default();
        metrics.started();
        metrics.started();
        metrics.finished(&Finished {
            model: None,
            outcome: Outcome::from(Kind::NotFound),
            duration: Duration::from_micros(200),
            timings: None,
        });
        let (_, text) = metrics.render(&Registry::default());
        for line in [
            "maas_inflight_requests 1",
            "maas_requests_total{model=\"\",version=\"\",outcome=\"invalid\"} 1",
            "maas_request_duration_seconds_count{model=\"\",version=\"\"} 1",
            "maas_request_duration_seconds_bucket{le=\"0.0001\",model=\"\",version=\"\"} 0",
            "maas_request_duration_seconds_bucket{le=\"0.00025\",model=\"\",version=\"\"} 1",
            "# TYPE maas_requests_total counter",
            "# TYPE maas_build_info gauge",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        let version = format!("maas_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&version), "{text}");
    }
}
