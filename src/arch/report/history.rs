//! How a training run went, as curves over its epochs.

use std::collections::BTreeMap;

use crate::arch::EpochReport;
use crate::plot::{self, Line, Panel, Picture, PlotError};

/// What the training loss is called beside the others.
const TRAIN_LOSS: &str = "train_loss";

/// Panels, and the figures that each shows where an epoch has them. Others are not drawn.
const PANELS: &[(&str, &[&str])] = &[
    ("loss (nats)", &[TRAIN_LOSS, "loss"]),
    ("share of what is held out", &["accuracy", "top_5_accuracy", "macro_f1"]),
    ("bits a character", &["bits_per_char"]),
    ("error rate", &["wer", "cer", "wer_real", "cer_real"]),
];

/// A run's losses and figures as `curves`: nothing of a run of no epochs. Panels without any are left out.
///
/// # Errors
/// [`PlotError`] when there is no memory for the pixels.
pub fn curves(
    title: &str,
    history: &[EpochReport],
) -> Result<BTreeMap<&'static str, Picture>, PlotError> {
    if history.is_empty() {
        return Ok(BTreeMap::new());
    }
    let panels = PANELS.iter().map(|(title, names)| Panel {
        title: (*title).to_owned(),
        lines: names.iter().filter_map(|name| line(name, history)).collect(),
    });
    let panels: Vec<Panel> = panels.filter(|panel| !panel.lines.is_empty()).collect();
    Ok(BTreeMap::from([("curves", plot::curves(title, &panels)?)]))
}

/// `None` where no epoch has the figure.
fn line(name: &str, history: &[EpochReport]) -> Option<Line> {
    let value = |epoch: &EpochReport| match name {
        TRAIN_LOSS => Some(epoch.train_loss),
        _ => epoch.metrics.get(name).copied(),
    };
    let point = |epoch: &EpochReport| Some((u32::try_from(epoch.epoch).ok()?, value(epoch)?));
    let points: Vec<_> = history.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Line { name: name.to_owned(), points })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epochs_figures_are_drawn_in_the_panel_of_their_unit() {
        let epoch = |epoch: usize, accuracy| EpochReport {
            epoch,
            train_loss: 1.0 - accuracy,
            metrics: BTreeMap::from([("accuracy".to_owned(), accuracy), ("x".to_owned(), 0.0)]),
            seconds: 1.0,
        };
        let svg = curves("tiny/1", &[epoch(1, 0.5), epoch(2, 0.75)])
            .unwrap()
            .remove("curves")
            .unwrap()
            .svg;
        for words in [">loss (nats)<", ">train_loss<", ">share of what is held out<", ">accuracy<"]
        {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        for words in [">loss<", ">macro_f1<", ">error rate<", ">x<"] {
            assert!(!svg.contains(words), "{words}: {svg}");
        }
        assert!(curves("tiny/1", &[]).unwrap().is_empty());
    }
}
