//! What is found out about a network on data: figures, and where they come from. Nothing here knows a
//! network; scores and texts come in, numbers and pictures go out.

mod align;
mod calibration;
mod classification;
mod history;
mod speech;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plot::{Picture, PlotError};

pub use align::{Edits, Kind, Step, align, edits};
pub use calibration::Bin;
pub use classification::{ClassScore, Classification, ClassificationDetail, ScoreError};
pub use history::curves;
pub use speech::{SpeechSplit, Utterance};

/// Where a package keeps pictures of its training and of its figures.
pub const FOLDER: &str = "report";

/// What lies behind the figures of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    Classification(ClassificationDetail),
    Language(LanguageDetail),
    Speech { splits: Vec<SpeechSplit> },
}

/// How much text was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LanguageDetail {
    pub tokens: usize,
    /// Those that were foretold: all but the first of each row, and what is left over at the end of the rows.
    pub tokens_scored: usize,
    pub characters: usize,
}

impl Detail {
    /// Pictures by name, without an extension.
    ///
    /// # Errors
    /// [`PlotError`] when there is no memory for the pixels.
    pub fn pictures(&self, title: &str) -> Result<BTreeMap<&'static str, Picture>, PlotError> {
        match self {
            Self::Classification(detail) => detail.pictures(title),
            Self::Language(_) | Self::Speech { .. } => Ok(BTreeMap::new()),
        }
    }
}

/// `<folder>/<name>.svg` and `.png` of each picture, as files of a package.
pub fn files(pictures: BTreeMap<&'static str, Picture>) -> impl Iterator<Item = (String, Vec<u8>)> {
    pictures.into_iter().flat_map(|(name, picture)| {
        let path = |extension: &str| format!("{FOLDER}/{name}.{extension}");
        [(path("svg"), picture.svg.into_bytes()), (path("png"), picture.png)]
    })
}

/// A part of a whole; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
