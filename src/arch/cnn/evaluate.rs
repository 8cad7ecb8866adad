//! How well a network classifies pictures that it has not seen.

use std::collections::BTreeMap;

use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::data::{Batch, DataConfig, in_order};
use crate::arch::cnn::net::Head;
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
    Ok(EvalReport {
        metrics: score(&network, &codec, &test)?,
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
    config.labels = Some(codec.labels.clone());
    Ok(config)
}

/// Accuracy, top-5 accuracy and mean cross entropy (nats) on all pictures of a part.
pub fn score(
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    part: &Part,
) -> Result<BTreeMap<String, f64>, TrainError> {
    if codec.head != Head::Softmax || part.is_empty() {
        let reason = "evaluating needs a classification and at least one labelled picture";
        return Err(TrainError::Data(reason.to_owned()));
    }
    let (mut right, mut near, mut loss) = (0_u32, 0_u32, 0.0);
    let mut index = 0;
    for batch in in_order(part, &codec.preprocessing, BATCH)? {
        let Batch { samples, labels } = batch?;
        let rows = network
            .run(&samples.iter().collect::<Vec<_>>())
            .map_err(|error| TrainError::Data(error.to_string()))?;
        for (label, scores) in labels.into_iter().zip(&rows) {
            let label = label as usize;
            let score = *scores.get(label).ok_or_else(|| unknown_label(label, scores.len()))?;
            if !scores.iter().all(|score| score.is_finite()) {
                let reason = format!("the scores of {} are not finite", part.place(index));
                return Err(TrainError::Data(reason));
            }
            // As an answer has them: the lower class first where two are alike.
            let before = |(class, &other): (usize, &f32)| {
                other > score || (other.total_cmp(&score).is_eq() && class < label)
            };
            let better = scores.iter().enumerate().filter(|&pair| before(pair)).count();
            right += u32::from(better == 0);
            near += u32::from(better < 5);
            loss -= f64::from(score.max(f32::MIN_POSITIVE)).ln();
            index += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a part has far fewer than 2^52 pictures")]
    let count = part.len() as f64;
    Ok(BTreeMap::from([
        ("accuracy".to_owned(), f64::from(right) / count),
        ("top_5_accuracy".to_owned(), f64::from(near) / count),
        ("loss".to_owned(), loss / count),
    ]))
}

fn unknown_label(label: usize, classes: usize) -> TrainError {
    TrainError::Data(format!("label {label}: expected 0 to {}", classes.saturating_sub(1)))
}
