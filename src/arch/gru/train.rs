//! From a text to a package, and from a package to its figures.

use std::collections::BTreeMap;

use candle_core::Device;

use crate::arch::golden::{GoldenSample, TOLERANCE};
use crate::arch::gru::fit::{Texts, measure};
use crate::arch::gru::net::RecurrentModel;
use crate::arch::gru::packed::PackedModel;
use crate::arch::gru::plan::{Data, Plan, encode, twentieth};
use crate::arch::gru::{golden_figure, load};
use crate::arch::pack::{self, DataReceipt, Signature};
use crate::arch::report::{self, Detail};
use crate::arch::{
    EpochReport, EvalJob, EvalReport, Outputs, TrainError, TrainJob, TrainReport, adopt, run,
    section,
};
use crate::compute::{Loader, Trainable, kernels};
use crate::dataset::text;
use crate::domain::{Datatype, MediaLimits, TensorSpec};
use crate::package::{Package, WEIGHTS_FILE};

/// The file that holds the golden line.
const GOLDEN_LINE: &str = "golden/line.txt";

/// Bytes of a golden line: enough to depend on every weight, and read in a few milliseconds.
const GOLDEN_BYTES: std::ops::RangeInclusive<usize> = 40..=400;

/// Learns `job.recipe` and packs it.
///
/// # Errors
/// [`TrainError`] when the recipe or its text is of no use, the loss stops being a number, or the
/// package cannot be written.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let plan = Plan::read(&job.recipe, job.data.as_deref())?;
    let rows = toml::Value::Integer(i64::try_from(plan.rows).unwrap_or(i64::MAX));
    job.recipe.architecture.config.insert("vocabulary".to_owned(), rows);
    let mut parameters = Trainable::new(job.seed, device);
    let model = RecurrentModel::new(&mut parameters, &plan.config, plan.rows)?;
    let outputs = Outputs {
        file: plan.vocabulary_file.0,
        bytes: &plan.vocabulary_file.1,
        tensors: &["embedding.".to_owned(), "head.".to_owned()],
    };
    adopt(job, &mut parameters, &outputs, device)?;
    let mut lesson = Texts::new(&plan, &model, job.recipe.fit.batch)?;
    let finished = run(job, &parameters, device, plan.text.digest, &mut lesson)?;
    pack(job, plan, parameters.to_safetensors()?, &finished.history, device)
}

/// Scores a package on the last part of a text: the recipe's, or the one that `job` names.
///
/// # Errors
/// [`TrainError`] when the package does not open or the text is of no use.
pub fn evaluate(
    package: &Package,
    job: &EvalJob,
    device: &Device,
) -> Result<EvalReport, TrainError> {
    let (model, language) = load(package, device, &MediaLimits::default())?;
    let (path, share) = match (pack::recipe(package), &job.data) {
        (Ok(recipe), path) => {
            let data: Data = section("data", &recipe.data)?;
            (path.clone().unwrap_or(data.path), data.held_out)
        }
        // A package that was trained elsewhere has no recipe.
        (Err(_), Some(path)) => (path.clone(), twentieth()),
        (Err(error), None) => return Err(error),
    };
    let text = text::read(&path, share).map_err(TrainError::Data)?;
    let tokens = encode(language.vocabulary(), &text.held_out)?;
    let score = if device.is_cpu() {
        measure(&PackedModel::new(&model, kernels::best())?, &language, &tokens)?
    } else {
        measure(&model.fold()?, &language, &tokens)?
    };
    Ok(EvalReport {
        metrics: score.metrics(),
        detail: Detail::Language(score.read),
        data_digest: text.digest,
        data_description: format!("the last {share} of {}", path.display()),
    })
}

/// Measures the weights as they are stored, and writes the package.
fn pack(
    job: &TrainJob<'_>,
    plan: Plan,
    weights: Vec<u8>,
    history: &[EpochReport],
    device: &Device,
) -> Result<TrainReport, TrainError> {
    let mut loader = Loader::new(&weights, device)?;
    let model = RecurrentModel::new(&mut loader, &plan.config, plan.rows)?.fold()?;
    loader.finish()?;
    let metrics = measure(&model, &plan.language, &plan.held_out)?.metrics();
    let line = golden_line(&plan.text.held_out);
    let sample = GoldenSample {
        input: GOLDEN_LINE.to_owned(),
        media: "text".to_owned(),
        expected: golden_figure(&model, &plan.language, &encode(plan.language.vocabulary(), line)?)
            .map_err(candle_core::Error::wrap)?,
        tolerance: TOLERANCE,
    };
    let data = DataReceipt {
        digest: plan.text.digest,
        description: format!(
            "{} tokens to learn from, {} held out",
            plan.train.len(),
            plan.held_out.len()
        ),
    };
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (plan.vocabulary_file.0.to_owned(), plan.vocabulary_file.1),
        (GOLDEN_LINE.to_owned(), line.as_bytes().to_vec()),
    ]);
    files.extend(report::files(report::curves(&job.label(), history)?));
    pack::write(job, pack::manifest(job, signature(), metrics, data), files, &[sample])
}

/// The first whole line of the held-out part that is of a good length, or else the beginning of it all.
fn golden_line(held_out: &str) -> &str {
    // The first line may have lost its beginning to the part that is learned from.
    let line = held_out.lines().skip(1).find(|line| GOLDEN_BYTES.contains(&line.len()));
    line.unwrap_or(&held_out[..held_out.floor_char_boundary(*GOLDEN_BYTES.end())])
}

fn signature() -> Signature {
    let text = |name: &str| {
        vec![TensorSpec { name: name.to_owned(), datatype: Datatype::Bytes, shape: vec![1] }]
    };
    Signature { inputs: text("text_input"), outputs: text("text_output") }
}
