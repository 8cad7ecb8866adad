//! The figures of one level, as one JSON line and as lines for people.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::load::histogram::Histogram;
use crate::load::tally::Counts;

/// What one level came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub url: String,
    /// `open` or `closed`.
    #[serde(rename = "loop")]
    pub kind: &'static str,
    /// Requests a second that were asked for, in an open loop.
    pub rate: Option<f64>,
    /// Clients, in a closed loop.
    pub concurrency: Option<usize>,
    /// Of the window that counts.
    pub seconds: f64,
    pub requests: u64,
    /// Requests a second that were due, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Answers a second, of whatever status.
    pub achieved_per_s: f64,
    /// Successes a second, within the deadline where there is one.
    pub goodput_per_s: f64,
    pub deadline_ms: Option<u64>,
    pub latency_ms: Latency,
    pub status: Statuses,
    pub retry_after_s: Waits,
    pub connections: usize,
    pub connection_errors: u64,
    pub unanswered: u64,
    pub held: u64,
    pub unsent: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// CPU time of this program over the time that passed: 1 is a core. Nothing where the system does not say.
    pub generator_cores: Option<f64>,
    pub probe: Option<ProbeRow>,
}

/// What a probe saw during a level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeRow {
    pub path: String,
    pub requests: u64,
    /// Those that were not answered with 200.
    pub failed: u64,
    pub latency_ms: Latency,
}

/// Milliseconds; nothing where there was no success.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// How many answers had which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Statuses {
    #[serde(rename = "200")]
    pub ok: u64,
    #[serde(rename = "429")]
    pub too_many: u64,
    #[serde(rename = "503")]
    pub unavailable: u64,
    pub other: u64,
}

/// What Retry-After asked for, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Waits {
    pub seen: u64,
    pub min: Option<f64>,
    pub median: Option<f64>,
    pub max: Option<f64>,
}

impl From<&Histogram> for Latency {
    fn from(histogram: &Histogram) -> Self {
        let at = |share| histogram.quantile(share).map(milliseconds);
        Self {
            min: histogram.min().map(milliseconds),
            mean: histogram.mean().map(milliseconds),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max().map(milliseconds),
        }
    }
}

impl From<&Counts> for Statuses {
    fn from(counts: &Counts) -> Self {
        let &Counts { ok, too_many, unavailable, other, .. } = counts;
        Self { ok, too_many, unavailable, other }
    }
}

impl From<&Histogram> for Waits {
    fn from(histogram: &Histogram) -> Self {
        let seconds = |wait: Duration| rounded(wait.as_secs_f64(), 1e2);
        Self {
            seen: histogram.count(),
            min: histogram.min().map(seconds),
            median: histogram.quantile(0.5).map(seconds),
            max: histogram.max().map(seconds),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3, 1e3)
}

/// To as many places as `parts` of one has zeros.
pub fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// The heading of the lines that [`Row`] prints.
pub const HEADING: &str = "   level  requests  offered/s achieved/s  goodput/s \
                           |  min ms    mean     p50     p90     p99   p99.9     max \
                           |     200     429     503   other  errors |  cpu";

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match (self.rate, self.concurrency) {
            (Some(rate), _) => format!("{rate}/s"),
            (None, clients) => format!("c={}", clients.unwrap_or(0)),
        };
        let offered = Shown(self.offered_per_s, 1);
        let Statuses { ok, too_many, unavailable, other } = self.status;
        write!(
            out,
            "{level:>8} {:>9} {offered:>10} {:>10.1} {:>10.1} |{} \
             | {ok:>7} {too_many:>7} {unavailable:>7} {other:>7} {:>7} | {:>4}",
            self.requests,
            self.achieved_per_s,
            self.goodput_per_s,
            self.latency_ms,
            self.connection_errors,
            Shown(self.generator_cores, 2),
        )?;
        self.rest(out)
    }
}

impl Row {
    /// What is not said of every level.
    fn rest(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shown in megabytes")]
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (sent, received) = (megabytes(self.bytes_sent), megabytes(self.bytes_received));
        let connections = self.connections;
        write!(out, "\n         {connections} connections, {sent:.2} MB out, {received:.2} MB in")?;
        let Waits { seen, min, median, max } = self.retry_after_s;
        if let (Some(min), Some(median), Some(max)) = (min, median, max) {
            write!(out, "; Retry-After {seen} times, {min} to {max} s, median {median} s")?;
        }
        if self.held > 0 {
            let (held, unsent) = (self.held, self.unsent);
            write!(out, "; {held} waited for a connection, {unsent} of them until the end")?;
        }
        if self.unanswered > 0 {
            write!(out, "; {} were never answered", self.unanswered)?;
        }
        if let Some(ProbeRow { path, requests, failed, latency_ms: latency }) = &self.probe {
            write!(out, "\n{path:>49}  {latency} | {requests} probes, {failed} failed")?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, mean, p50, p90, p99, p999, max } = *self;
        for value in [min, mean, p50, p90, p99, p999, max] {
            // Three places matter below a second, none above it.
            let places = if value.is_some_and(|ms| ms >= 100.0) { 1 } else { 3 };
            write!(out, " {:>7}", Shown(value, places))?;
        }
        Ok(())
    }
}

/// A number with so many places, or a dash.
struct Shown(Option<f64>, usize);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => out.pad(&format!("{value:.*}", self.1)),
            None => out.pad("-"),
        }
    }
}
