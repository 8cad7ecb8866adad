//! How well a network classifies pictures that it has not seen.

use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::data::{Batch, DataConfig, in_order};
use crate::arch::cnn::net::Head;
use crate::arch::report::{Classification, Detail, ScoreError};
use crate::arch::{EvalJob, EvalReport, TrainError, golden, pack, section};
use crate::compute::{Device, kernels};
use crate::dataset::BadSamples;
use crate::dataset::pictures::{self, Part};
use crate::engine::Network;
use crate::package::Package;

/// Pictures in one forward pass.
const BATCH: usize = 100;

/// Answers the golden samples and the test pictures.
pub fn evaluate(
    package: &Package,
    job: &EvalJob,
    device: &Device,
) -> Result<EvalReport, TrainError> {
    let (network, codec) = super::load(package, device, kernels::best())?;
    golden::check(package, &network, &codec)?;
    let config = data_config(package, job, &codec)?;
    let mut bad = BadSamples::new(job.on_bad_sample);
    let (test, data_digest) = pictures::open_test(&config, &config.directory, &mut bad)?;
    let scored = score(&network, &codec, &test)?;
    Ok(EvalReport {
        metrics: scored.metrics(),
        detail: Detail::Classification(scored.detail()),
        data_digest,
        data_description: format!("{} test pictures of {}", test.len(), config.directory.display()),
        left_out: bad.left_out(),
    })
}

/// What the package's recipe says of its data, with the package's own labels. Another directory may have
/// another format.
fn data_config(
    package: &Package,
    job: &EvalJob,
    codec: &CnnCodec,
) -> Result<DataConfig, TrainError> {
    let mut config: DataConfig = match (pack::recipe(package), &job.data) {
        (Ok(recipe), _) => section("data", &recipe.data)?,
        // A package that was trained elsewhere has no recipe.
        (Err(_), Some(_)) => DataConfig::default(),
        (Err(error), None) => return Err(error),
    };
    if let Some(directory) = &job.data {
        config = DataConfig { format: None, directory: directory.clone(), ..config };
    }
    config.labels = Some(codec.labels.to_vec());
    Ok(config)
}

/// What is answered to all pictures of a part.
pub fn score(
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    part: &Part,
) -> Result<Classification, TrainError> {
    if codec.head != Head::Softmax || part.is_empty() {
        let reason = "evaluating needs a classification and at least one labelled picture";
        return Err(TrainError::Data(reason.to_owned()));
    }
    let mut scored = Classification::new(codec.labels.to_vec());
    let mut index = 0;
    for batch in in_order(part, &codec.preprocessing, BATCH)? {
        let Batch { samples, labels } = batch?;
        let rows = network
            .run(&samples.iter().collect::<Vec<_>>())
            .map_err(|error| candle_core::Error::Msg(error.0))?;
        for (label, scores) in labels.into_iter().zip(&rows) {
            scored
                .add(scores, label as usize)
                .map_err(|error| refused(error, part.place(index)))?;
            index += 1;
        }
    }
    Ok(scored)
}

fn refused(error: ScoreError, place: String) -> TrainError {
    match error {
        ScoreError::NotFinite => TrainError::NotFinite { place },
        _ => TrainError::Data(format!("{place}: {error}")),
    }
}
