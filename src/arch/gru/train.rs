//! From a text to a package, and from a package to its figures.

use std::collections::BTreeMap;

use candle_core::Device;

use crate::arch::golden::{GoldenSample, TOLERANCE};
use crate::arch::gru::fit::{Texts, measure};
use crate::arch::gru::net::RecurrentModel;
use crate::arch::gru::packed::PackedModel;
use crate::arch::gru::plan::{Data, Plan, encode};
use crate::arch::gru::{TASK, golden_figure, load};
use crate::arch::pack::{self, DataReceipt, Signature};
use crate::arch::report::{self, Detail};
use crate::arch::{
    EpochReport, EvalJob, EvalReport, Outputs, TrainError, TrainJob, TrainReport, adopt,
    check_task, run, section,
};
use crate::compute::{Loader, Trainable, kernels};
use crate::dataset::text::Part;
use crate::dataset::{BadSamples, DataError};
use crate::domain::{Datatype, MediaLimits, TensorSpec};
use crate::package::{Package, WEIGHTS_FILE, sha256};

/// The file that holds the golden line.
const GOLDEN_LINE: &str = "golden/line.txt";

/// Bytes of a golden line: enough to depend on every weight, and read in a few milliseconds.
const GOLDEN_BYTES: std::ops::RangeInclusive<usize> = 40..=400;

/// Bytes of the held-out part that a golden line is looked for in.
const GOLDEN_AMONG: usize = 64 << 10;

/// Learns `job.recipe` and packs it.
///
/// # Errors
/// [`TrainError`] when the recipe or its text is of no use, the loss stops being a number, or the
/// package cannot be written.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    check_task(&job.recipe.task, TASK)?;
    let plan = Plan::read(job)?;
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
    // The vocabulary may be another file's than the text's.
    let learned = [plan.text.digest, sha256(&plan.vocabulary_file.1)];
    let finished = run(job, &parameters, device, &learned, &mut lesson)?;
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
    let data: Data = match (pack::recipe(package), &job.data) {
        (Ok(recipe), _) => section("data", &recipe.data)?,
        // A package that was trained elsewhere has no recipe.
        (Err(_), Some(path)) => Data::at(path.clone()),
        (Err(error), None) => return Err(error),
    };
    let mut bad = BadSamples::new(job.on_bad_sample);
    let text = data.text(job.data.as_ref(), &mut bad)?;
    let tokens = encode(language.vocabulary(), &text.held_out, &mut bad)?;
    let score = if device.is_cpu() {
        measure(&PackedModel::new(&model, kernels::best())?, &language, &tokens)?
    } else {
        measure(&model.fold()?, &language, &tokens)?
    };
    Ok(EvalReport {
        metrics: score.metrics(),
        detail: Detail::Language(score.read),
        data_digest: text.digest,
        data_description: format!(
            "the last {} of {}",
            data.held_out,
            data.place(job.data.as_ref())
        ),
        left_out: bad.left_out(),
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
    let line = golden_line(&plan.text.held_out)?;
    let tokens =
        plan.language.vocabulary().encode(&line).map_err(|_| {
            TrainError::Data("the vocabulary cannot write the golden line".to_owned())
        })?;
    let sample = GoldenSample {
        input: GOLDEN_LINE.to_owned(),
        media: "text".to_owned(),
        expected: golden_figure(&model, &plan.language, &tokens)
            .map_err(candle_core::Error::wrap)?,
        tolerance: TOLERANCE,
    };
    let data = DataReceipt {
        digest: plan.text.digest,
        description: "tokens of text".to_owned(),
        parts: BTreeMap::from([
            ("train".to_owned(), plan.train.len()),
            ("validation".to_owned(), plan.validation.len()),
            ("test".to_owned(), plan.held_out.len()),
            ("left_out".to_owned(), plan.left_out.len()),
        ]),
        // What is held out is the end of each file.
        seed: None,
    };
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (plan.vocabulary_file.0.to_owned(), plan.vocabulary_file.1),
        (GOLDEN_LINE.to_owned(), line.into_bytes()),
    ]);
    files.extend(report::files(report::curves(&job.label(), history)?));
    let manifest = pack::manifest(job, signature(), metrics, data);
    pack::write(job, manifest, files, &[sample], plan.left_out)
}

/// The first whole line of the held-out part that is of a good length, or else the beginning of it all.
pub fn golden_line(held_out: &Part) -> Result<String, DataError> {
    let mut text = String::new();
    for chunk in held_out.chunks() {
        text += &chunk?.1;
        if text.len() >= GOLDEN_AMONG {
            break;
        }
    }
    // The first line may have lost its beginning to the part that is learned from.
    let line = text.lines().skip(1).find(|line| GOLDEN_BYTES.contains(&line.len()));
    Ok(line.unwrap_or(&text[..text.floor_char_boundary(*GOLDEN_BYTES.end())]).to_owned())
}

/// A text in, a text out.
pub fn signature() -> Signature {
    let text = |name: &str| {
        vec![TensorSpec { name: name.to_owned(), datatype: Datatype::Bytes, shape: vec![1] }]
    };
    Signature { inputs: text("text_input"), outputs: text("text_output") }
}
