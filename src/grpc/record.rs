//! What is known of one prediction. Whoever drops it writes the log line and the metrics: nothing is counted
//! twice or missed.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::domain::{Kind, Timings};
use crate::http::App;
use crate::registry::Model;
use crate::telemetry::{Finished, Outcome};

/// One prediction, from its arrival to its end.
pub struct Record {
    app: Arc<App>,
    method: &'static str,
    pub started: Instant,
    model: OnceLock<Arc<Model>>,
    timings: OnceLock<Timings>,
    outcome: OnceLock<Outcome>,
}

impl Record {
    pub fn open(app: Arc<App>, method: &'static str) -> Self {
        app.metrics.started();
        Self {
            app,
            method,
            started: Instant::now(),
            model: OnceLock::new(),
            timings: OnceLock::new(),
            outcome: OnceLock::new(),
        }
    }

    /// The model that answers.
    pub fn set_model(&self, model: &Arc<Model>) {
        let _ = self.model.set(Arc::clone(model));
    }

    /// The answer is whole.
    pub fn succeeded(&self, timings: Timings) {
        let _ = self.timings.set(timings);
        let _ = self.outcome.set(Outcome::ok);
    }

    pub fn failed(&self, kind: Kind) {
        let _ = self.outcome.set(kind.into());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let outcome = *self.outcome.get().unwrap_or(&Outcome::cancelled);
        let model = self.model.get();
        let duration = self.started.elapsed();
        tracing::info!(
            target: "maas::request",
            method = "gRPC",
            route = self.method,
            outcome = outcome.name(),
            duration_ms = duration.as_secs_f64() * 1e3,
            model = model.map(|model| model.card.name.as_str()),
            version = model.map(|model| model.card.version.get()),
        );
        let timings = self.timings.get().copied();
        let model = model.map(Arc::as_ref);
        self.app.metrics.finished(&Finished { model, outcome, duration, timings });
    }
}
