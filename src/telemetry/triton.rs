//! The metrics that dashboards of Triton read, by its names, as far as they are known here.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::engine::Requests;
use crate::registry::{Model, Slot};
use crate::telemetry::Outcome;

/// A metric of one model: its name, what it means, its type, and its value.
type Row = (&'static str, &'static str, &'static str, fn(&Model, &Requests) -> u64);

const TABLE: [Row; 9] = [
    ("nv_inference_request_success", "Requests that were answered", "counter", |_, requests| {
        requests.success.count
    }),
    ("nv_inference_count", "Rows that were run", "counter", |model, _| {
        model.endpoint.stats().rows.load(Relaxed)
    }),
    ("nv_inference_exec_count", "Forward passes", "counter", |model, _| {
        model.endpoint.stats().batches.load(Relaxed)
    }),
    (
        "nv_inference_request_duration_us",
        "Time of requests that were answered, in microseconds",
        "counter",
        |_, requests| requests.success.nanos / 1000,
    ),
    (
        "nv_inference_queue_duration_us",
        "Time that they waited, in microseconds",
        "counter",
        |_, requests| requests.queue.nanos / 1000,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Time of decoding them, in microseconds",
        "counter",
        |_, requests| requests.pre.nanos / 1000,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Time in the network, in microseconds",
        "counter",
        |_, requests| requests.infer.nanos / 1000,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Time of encoding the answers, in microseconds",
        "counter",
        |_, requests| requests.post.nanos / 1000,
    ),
    ("nv_inference_pending_request_count", "Rows that wait", "gauge", |model, _| {
        model.endpoint.stats().queued.load(Relaxed) as u64
    }),
];

/// How Triton calls the ways in which a request fails.
const REASONS: [(&str, &[Outcome]); 4] = [
    ("REJECTED", &[Outcome::rejected]),
    ("CANCELED", &[Outcome::cancelled]),
    ("BACKEND", &[Outcome::error]),
    ("OTHER", &[Outcome::invalid, Outcome::timeout]),
];

/// Adds them to a scrape; `ended` tells how many requests to a model ended so.
pub fn write(text: &mut String, slots: &[Slot], ended: impl Fn(&Model, Outcome) -> u64) {
    let models: Vec<(&Model, Requests)> = slots
        .iter()
        .filter_map(|slot| slot.model.as_deref())
        .map(|model| (model, model.endpoint.stats().requests()))
        .collect();
    for (name, help, kind, value) in TABLE {
        head(text, name, help, kind);
        for (model, requests) in &models {
            let (labels, value) = (labels(model), value(model, requests));
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
    let name = "nv_inference_request_failure";
    head(text, name, "Requests that were not answered", "counter");
    for (model, _) in &models {
        for (reason, outcomes) in REASONS {
            let count: u64 = outcomes.iter().map(|&outcome| ended(model, outcome)).sum();
            let labels = labels(model);
            let _ = writeln!(text, "{name}{{{labels},reason=\"{reason}\"}} {count}");
        }
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Names and versions hold nothing that needs an escape.
fn labels(model: &Model) -> String {
    format!("model=\"{}\",version=\"{}\"", model.card.name, model.card.version)
}
