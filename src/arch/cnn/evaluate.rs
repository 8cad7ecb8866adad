//! How well a network classifies pictures that it has not seen.

use std::path::PathBuf;

use serde::Deserialize;

use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::net::Head;
use crate::arch::report::{Classification, Detail};
use crate::arch::{EvalJob, EvalReport, TrainError, golden, pack, section};
use crate::compute::{Device, kernels};
use crate::dataset::idx::{IdxError, Reader, Split};
use crate::engine::Network;
use crate::media::picture::Picture;
use crate::package::Package;

/// Pictures in one forward pass.
const BATCH: usize = 100;

/// A recipe's `[data]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Holds the IDX files `train-…` and `t10k-…`, as the package of Fashion-MNIST names them.
    pub directory: PathBuf,
    /// Names of the classes, in the order of their numbers in the files.
    pub labels: Vec<String>,
}

/// The split that training never sees.
pub const TEST: &str = "t10k";

/// Answers the golden samples and the test pictures.
pub fn evaluate(
    package: &Package,
    job: &EvalJob,
    device: &Device,
) -> Result<EvalReport, TrainError> {
    let (network, codec) = super::load(package, device, kernels::best())?;
    golden::check(package, &network, &codec)?;
    let directory = match &job.data {
        Some(directory) => directory.clone(),
        None => section::<DataConfig>("data", &pack::recipe(package)?.data)?.directory,
    };
    let mut reader = Reader::new(&directory);
    let test = reader.split(TEST)?;
    let scored = score(&network, &codec, &test)?;
    Ok(EvalReport {
        metrics: scored.metrics(),
        detail: Detail::Classification(scored.detail()),
        data_digest: reader.digest(),
        data_description: format!("{} test pictures of {}", test.len(), directory.display()),
    })
}

/// What is answered to all pictures of a split.
pub fn score(
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    split: &Split,
) -> Result<Classification, TrainError> {
    if codec.head != Head::Softmax || split.is_empty() {
        let reason = "evaluating needs a classification and at least one labelled picture";
        return Err(TrainError::Data(reason.to_owned()));
    }
    let mut scored = Classification::new(codec.labels.clone());
    for start in (0..split.len()).step_by(BATCH) {
        let indices = start..(start + BATCH).min(split.len());
        let samples = indices
            .clone()
            .map(|i| sample(codec, split.rows, split.columns, split.picture(i).to_vec()))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = network
            .run(&samples.iter().collect::<Vec<_>>())
            .map_err(|error| TrainError::Data(error.to_string()))?;
        for (index, scores) in indices.zip(&rows) {
            scored
                .add(scores, split.labels[index].into())
                .map_err(|error| TrainError::Data(format!("picture {index}: {error}")))?;
        }
    }
    Ok(scored)
}

/// One grey picture of a data set as the network reads it.
pub fn sample(
    codec: &CnnCodec,
    rows: usize,
    columns: usize,
    pixels: Vec<u8>,
) -> Result<Vec<f32>, TrainError> {
    picture(rows, columns, pixels).map(|picture| codec.preprocessing.apply(&picture))
}

pub fn picture(rows: usize, columns: usize, pixels: Vec<u8>) -> Result<Picture, TrainError> {
    u32::try_from(columns)
        .ok()
        .zip(u32::try_from(rows).ok())
        .and_then(|(width, height)| Picture::grey(width, height, pixels))
        .ok_or_else(|| TrainError::Data(format!("pictures of {rows} x {columns} are too large")))
}

pub fn unknown_label(label: usize, classes: usize) -> TrainError {
    TrainError::Data(format!("label {label}: expected 0 to {}", classes.saturating_sub(1)))
}

impl From<IdxError> for TrainError {
    fn from(error: IdxError) -> Self {
        Self::Data(error.to_string())
    }
}
