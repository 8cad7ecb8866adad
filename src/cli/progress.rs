//! How a training goes on: a bar on a terminal, a line an epoch anywhere.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::arch::{EpochReport, Event, StepReport};

/// Shows what a run tells: the bar on stderr, and only where that is a terminal; epochs on stdout.
pub struct Progress {
    json: bool,
    epochs: usize,
    /// Of the current epoch.
    bar: ProgressBar,
    /// The loss of the newest steps.
    loss: Option<f64>,
    /// Whether standard output takes what is written to it. A run of hours does not end for that.
    heard: bool,
}

/// The newest step counts this much in the loss that is shown.
const NEWEST: f64 = 0.05;

impl Progress {
    /// Of a run of so many `epochs`; with `json`, a JSON object an epoch.
    #[must_use]
    pub fn new(json: bool, epochs: usize) -> Self {
        Self { json, epochs, bar: ProgressBar::hidden(), loss: None, heard: true }
    }

    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Fresh(names) => {
                eprintln!(
                    "beginning fresh, because the outputs are others than the parent's: {}",
                    names.join(", ")
                );
            }
            Event::Step(step) => self.step(step),
            Event::Epoch(report) => self.epoch(report),
        }
    }

    fn step(&mut self, report: StepReport) {
        let StepReport { epoch, step, steps, loss, learning_rate } = report;
        if step == 1 {
            self.bar = bar(steps);
            self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        }
        let shown = self.loss.map_or(loss, |before| before + (loss - before) * NEWEST);
        self.loss = Some(shown);
        self.bar.set_message(format!("loss {shown:.4}  rate {learning_rate:.2e}"));
        self.bar.inc(1);
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.bar.finish_and_clear();
        let line = if self.json {
            serde_json::to_string(report).map_err(io::Error::from)
        } else {
            Ok(line(report, self.epochs))
        };
        let mut out = io::stdout().lock();
        let written = line.and_then(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
        if let Err(error) = written
            && std::mem::replace(&mut self.heard, false)
        {
            eprintln!("maas: standard output: {error}; the run goes on");
        }
    }
}

/// Drawn where stderr is a terminal.
fn bar(steps: usize) -> ProgressBar {
    let template = "{prefix}  {bar:32} {pos}/{len}  {msg}  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(steps as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn line(report: &EpochReport, epochs: usize) -> String {
    let metrics: Vec<String> =
        report.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    let EpochReport { epoch, train_loss, seconds, .. } = report;
    format!(
        "epoch {epoch:>3}/{epochs}  train_loss {train_loss:.4}  {}  {seconds:.1} s",
        metrics.join("  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_epoch_is_a_line() {
        let metrics = BTreeMap::from([("accuracy".to_owned(), 0.5)]);
        let report = EpochReport { epoch: 3, train_loss: 1.25, metrics, seconds: 2.0 };
        assert_eq!(line(&report, 10), "epoch   3/10  train_loss 1.2500  accuracy 0.5000  2.0 s");
    }
}
