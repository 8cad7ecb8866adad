//! The metrics of models, read from the registry and the engine's counts at each scrape.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::domain::State;
use crate::engine::{BATCH_BUCKETS, Cause, Histogram, ModelStats, PADDING_BUCKETS};
use crate::registry::{Model, Slot};

/// Every version, as it was at the start of the scrape.
pub struct Models(pub Vec<Slot>);

/// One metric of models: its samples for one version.
struct Row {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    write: fn(&mut MetricEncoder, &Slot) -> fmt::Result,
}

const fn row(
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    write: fn(&mut MetricEncoder, &Slot) -> fmt::Result,
) -> Row {
    Row { name, help, kind, write }
}

const TABLE: [Row; 11] = [
    row("model_state", "1 for the state a version is in", MetricType::Gauge, write_states),
    row("model_load_seconds", "What loading took", MetricType::Gauge, |out, slot| {
        ready(slot, |model| gauge(out, &of(slot, &[]), model.load_time.as_secs_f64()))
    }),
    row("model_bytes", "Bytes of its weights", MetricType::Gauge, |out, slot| {
        ready(slot, |model| gauge(out, &of(slot, &[("device", &model.device)]), model.bytes))
    }),
    row("queue_depth", "Rows that wait for a worker", MetricType::Gauge, |out, slot| {
        stats(slot, |stats| gauge(out, &of(slot, &[]), stats.queued.load(Ordering::Relaxed)))
    }),
    row("rows", "Samples that were run, and steps of texts", MetricType::Counter, |out, slot| {
        stats(slot, |stats| counter(out, &of(slot, &[]), read(&stats.rows)))
    }),
    row("batches", "Forward passes", MetricType::Counter, |out, slot| {
        stats(slot, |stats| counter(out, &of(slot, &[]), read(&stats.batches)))
    }),
    row("batch_rows", "Rows in a forward pass", MetricType::Histogram, |out, slot| {
        stats(slot, |stats| histogram(out, slot, &stats.batch_rows, &BATCH_BUCKETS, 1.0))
    }),
    row(
        "batch_padding_ratio",
        "Share of a forward pass that is padding, where the network pads",
        MetricType::Histogram,
        |out, slot| {
            stats(slot, |stats| histogram(out, slot, &stats.padding, &PADDING_BUCKETS, 0.01))
        },
    ),
    row(
        "refusals",
        "Requests refused by the scheduler, by cause",
        MetricType::Counter,
        |out, slot| {
            stats(slot, |stats| {
                Cause::ALL.into_iter().try_for_each(|cause| {
                    counter(out, &of(slot, &[("cause", cause.name())]), stats.refusals(cause))
                })
            })
        },
    ),
    row(
        "tokens",
        "Tokens of prompts read and of texts generated",
        MetricType::Counter,
        |out, slot| {
            stats(slot, |stats| {
                counter(out, &of(slot, &[("kind", "prompt")]), read(&stats.prompt_tokens))?;
                counter(out, &of(slot, &[("kind", "generated")]), read(&stats.generated_tokens))
            })
        },
    ),
    row("executor_busy_seconds", "What workers spent in it", MetricType::Counter, write_busy),
];

impl Collector for Models {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for row in &TABLE {
            let mut out = encoder.encode_descriptor(row.name, row.help, None, row.kind)?;
            self.0.iter().try_for_each(|slot| (row.write)(&mut out, slot))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} versions", self.0.len())
    }
}

fn write_states(out: &mut MetricEncoder, slot: &Slot) -> fmt::Result {
    [
        (State::Loading, "loading"),
        (State::Ready, "ready"),
        (State::Unloading, "unloading"),
        (State::Unloaded, "unloaded"),
        (State::Failed, "failed"),
    ]
    .into_iter()
    .try_for_each(|(state, name)| {
        gauge(out, &of(slot, &[("state", name)]), i64::from(slot.status.state == state))
    })
}

#[expect(clippy::cast_precision_loss, reason = "bounds are small; the sum may round")]
fn histogram<const N: usize>(
    out: &mut MetricEncoder,
    slot: &Slot,
    histogram: &Histogram<N>,
    bounds: &[u64],
    unit: f64,
) -> fmt::Result {
    let bounds = bounds.iter().map(|&bound| bound as f64 * unit).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(histogram.counts.iter().map(read)).collect();
    // The count is made of the buckets, so that both agree even while batches run.
    let count = buckets.iter().map(|(_, count)| count).sum();
    out.encode_family(&of(slot, &[]))?.encode_histogram::<NoLabelSet>(
        read(&histogram.sum) as f64 * unit,
        count,
        &buckets,
        None,
    )
}

fn write_busy(out: &mut MetricEncoder, slot: &Slot) -> fmt::Result {
    ready(slot, |model| {
        #[expect(clippy::cast_precision_loss, reason = "104 days in nanoseconds fit exactly")]
        let seconds = read(&model.endpoint.stats().busy_nanos) as f64 / 1e9;
        counter(out, &of(slot, &[("device", &model.device)]), seconds)
    })
}

fn of<'a>(slot: &Slot, more: &[(&'static str, &'a str)]) -> impl EncodeLabelSet + use<'a> {
    let mut labels = vec![("model", slot.name.to_string()), ("version", slot.version.to_string())];
    labels.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
    labels
}

fn ready(slot: &Slot, write: impl FnOnce(&Model) -> fmt::Result) -> fmt::Result {
    slot.model.as_deref().map_or(Ok(()), write)
}

fn stats(slot: &Slot, write: impl FnOnce(&ModelStats) -> fmt::Result) -> fmt::Result {
    ready(slot, |model| write(model.endpoint.stats()))
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn gauge<N>(out: &mut MetricEncoder, labels: &impl EncodeLabelSet, value: N) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    ConstGauge::new(value).encode(out.encode_family(labels)?)
}

fn counter<N>(out: &mut MetricEncoder, labels: &impl EncodeLabelSet, value: N) -> fmt::Result
where
    ConstCounter<N>: EncodeMetric,
{
    ConstCounter::new(value).encode(out.encode_family(labels)?)
}
