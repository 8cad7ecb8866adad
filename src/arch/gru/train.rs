//! From a text to a package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::arch::golden::{GoldenSample, TOLERANCE};
use crate::arch::gru::config::{Config, Preprocessing, Tokens};
use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::net::{FoldedModel, RecurrentModel};
use crate::arch::gru::score::{Score, score};
use crate::arch::gru::streams::Streams;
use crate::arch::gru::vocabulary::{Unknown, Vocabulary};
use crate::arch::gru::{golden_figure, load};
use crate::arch::pack::{self, DataReceipt, Signature};
use crate::arch::{
    EpochReport, EvalJob, EvalReport, Recipe, TrainError, TrainJob, TrainReport, section,
};
use crate::compute::fit::{Optimiser, Schedule};
use crate::compute::layers::{Dropout, LayerState};
use crate::compute::{Loader, Trainable};
use crate::dataset::text::{self, Text};
use crate::domain::{Datatype, MediaLimits, TensorSpec};
use crate::engine::TokenId;
use crate::package::{Package, WEIGHTS_FILE};

/// `[data]` of a recipe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    /// The text: one file in UTF-8.
    path: PathBuf,
    /// The share of its bytes, at the end, that is measured on and not learned from.
    #[serde(default = "twentieth")]
    held_out: f64,
    /// A tokenizer.json, when `preprocessing.tokens` is `tokenizer`.
    tokenizer: Option<PathBuf>,
}

fn twentieth() -> f64 {
    0.05
}

/// `[fit.options]` of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Steps that gradients flow back through.
    sequence: usize,
}

/// Gradients walk the steps' graph by recursion, so its depth is bounded.
const SEQUENCE_MAX: usize = 1024;

/// Above this the perplexity is no number any longer.
const NATS_MAX: f64 = 700.0;

/// The file that holds the golden line.
const GOLDEN_LINE: &str = "golden/line.txt";

/// Everything that is known before the first step.
struct Plan {
    text: Text,
    config: Config,
    language: TextLanguage,
    vocabulary_file: (&'static str, Vec<u8>),
    rows: usize,
    train: Vec<TokenId>,
    held_out: Vec<TokenId>,
    sequence: usize,
}

/// Learns `job.recipe` and packs it.
///
/// # Errors
/// [`TrainError`] when the recipe or its text is of no use, the loss stops being a number, or the
/// package cannot be written.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let plan = plan(&job.recipe, job.data.as_deref())?;
    let rows = toml::Value::Integer(i64::try_from(plan.rows).unwrap_or(i64::MAX));
    job.recipe.architecture.config.insert("vocabulary".to_owned(), rows);
    let mut parameters = Trainable::new(job.seed, device);
    let model = RecurrentModel::new(&mut parameters, &plan.config, plan.rows)?;
    fit(job, &plan, &model, &parameters)?;
    pack(job, plan, parameters.to_safetensors()?, device)
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
    Ok(EvalReport {
        metrics: measure(&model, &language, &tokens)?.metrics(),
        data_digest: text.digest,
        data_description: format!("the last {share} of {}", path.display()),
    })
}

fn plan(recipe: &Recipe, path: Option<&Path>) -> Result<Plan, TrainError> {
    let config = Config::read(&recipe.architecture.config)?;
    let preprocessing = Preprocessing::read(&recipe.preprocessing)?;
    let data: Data = section("data", &recipe.data)?;
    let Options { sequence } = section("fit.options", &recipe.fit.options)?;
    if !(1..=SEQUENCE_MAX).contains(&sequence) {
        let text = format!("fit.options.sequence is {sequence}: expected 1 to {SEQUENCE_MAX}");
        return Err(TrainError::Data(text));
    }
    let text = text::read(path.unwrap_or(&data.path), data.held_out).map_err(TrainError::Data)?;
    let bytes = vocabulary_bytes(preprocessing.tokens, &data, &text)?;
    let vocabulary = Vocabulary::read(preprocessing.tokens, &bytes)?;
    let rows = config.rows(vocabulary.size())?;
    let train = encode(&vocabulary, &text.train)?;
    let held_out = encode(&vocabulary, &text.held_out)?;
    if held_out.len() < 2 {
        return Err(too_little());
    }
    let media = MediaLimits::default();
    let language = TextLanguage::new(vocabulary, rows, &preprocessing, &media)?;
    let vocabulary_file = (preprocessing.tokens.file(), bytes);
    Ok(Plan { text, config, language, vocabulary_file, rows, train, held_out, sequence })
}

fn vocabulary_bytes(tokens: Tokens, data: &Data, text: &Text) -> Result<Vec<u8>, TrainError> {
    let failed =
        |error: &dyn std::fmt::Display, what: &str| TrainError::Data(format!("{what}: {error}"));
    match (tokens, &data.tokenizer) {
        // Of the whole text, so that the held-out part can be measured.
        (Tokens::Characters, None) => {
            Vocabulary::characters_of(&[text.train.as_str(), &text.held_out].concat())
                .map_err(|e| failed(&e, "vocabulary"))
        }
        (Tokens::Tokenizer, Some(path)) => {
            fs::read(path).map_err(|e| failed(&e, &path.display().to_string()))
        }
        _ => Err(TrainError::Data(
            "data.tokenizer belongs with preprocessing.tokens = \"tokenizer\", and only there"
                .to_owned(),
        )),
    }
}

fn encode(vocabulary: &Vocabulary, text: &str) -> Result<Vec<TokenId>, TrainError> {
    vocabulary.encode(text).map_err(|unknown| {
        TrainError::Data(match unknown {
            Unknown::Character(c, at) => {
                format!("the vocabulary lacks {c:?}, character {} of the text", at + 1)
            }
            Unknown::Somewhere => "the tokenizer cannot read the text".to_owned(),
        })
    })
}

fn fit(
    job: &mut TrainJob<'_>,
    plan: &Plan,
    model: &RecurrentModel,
    parameters: &Trainable,
) -> Result<(), TrainError> {
    let section = &job.recipe.fit;
    let streams = Streams::new(&plan.train, section.batch, plan.sequence).ok_or_else(|| {
        let (tokens, rows) = (plan.train.len(), section.batch);
        TrainError::Data(format!("{tokens} tokens are too few for fit.batch = {rows} streams"))
    })?;
    let mut learner = Learner {
        model,
        optimiser: Optimiser::new(section.optimiser.clone(), parameters.variables())?,
        schedule: section.schedule,
        learning_rate: section.optimiser.learning_rate,
        dropout: Dropout::new(plan.config.dropout, job.seed),
        step: 0,
        steps: section.epochs * streams.windows(),
    };
    for epoch in 1..=section.epochs {
        let start = Instant::now();
        let train_loss = learner.epoch(&streams)?;
        let held_out = measure(&model.fold()?, &plan.language, &plan.held_out)?;
        learner.sound(held_out.nats_per_token)?;
        (job.report)(&EpochReport {
            epoch,
            train_loss,
            metrics: BTreeMap::from([("bits_per_char".to_owned(), held_out.bits_per_character)]),
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    Ok(())
}

/// What changes from step to step.
struct Learner<'a> {
    model: &'a RecurrentModel,
    optimiser: Optimiser,
    schedule: Schedule,
    learning_rate: f64,
    dropout: Dropout,
    step: usize,
    steps: usize,
}

impl Learner<'_> {
    /// Every window once, in order. Returns the mean loss, in nats a token.
    fn epoch(&mut self, streams: &Streams<'_>) -> Result<f64, TrainError> {
        let mut states = self.model.fold()?.zeros(streams.rows())?;
        let mut sum = 0.0;
        for window in 0..streams.windows() {
            // Truncated backpropagation through time: values flow on, gradients do not.
            states = states.iter().map(LayerState::detach).collect();
            sum += self.window(streams, window, &mut states)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of windows is small")]
        let windows = streams.windows() as f64;
        Ok(sum / windows)
    }

    fn window(
        &mut self,
        streams: &Streams<'_>,
        window: usize,
        states: &mut [LayerState],
    ) -> Result<f64, TrainError> {
        let folded = self.model.fold()?;
        let mut outputs = Vec::new();
        for tokens in streams.inputs(window) {
            let tokens = Tensor::new(tokens, folded.device())?;
            outputs.push(folded.advance(&tokens, states, Some(&mut self.dropout))?);
        }
        // One product for all steps; time-major, as the targets are.
        let logits = folded.logits(&Tensor::cat(&outputs, 0)?)?;
        let targets = Tensor::new(streams.targets(window), folded.device())?;
        let loss = candle_nn::loss::cross_entropy(&logits, &targets)?;
        let value = self.sound(f64::from(loss.to_scalar::<f32>()?))?;
        let norm = self.optimiser.step(&loss.backward()?, self.factor())?;
        if !norm.is_finite() {
            return Err(self.diverged(value));
        }
        self.step += 1;
        Ok(value)
    }

    fn factor(&self) -> f64 {
        self.schedule.factor(self.step, self.steps)
    }

    /// The loss, when it is one to go on from.
    fn sound(&self, loss: f64) -> Result<f64, TrainError> {
        // Written so that NaN is none.
        if loss < NATS_MAX { Ok(loss) } else { Err(self.diverged(loss)) }
    }

    fn diverged(&self, loss: f64) -> TrainError {
        let learning_rate = self.learning_rate * self.factor();
        TrainError::Diverged { step: self.step, loss, learning_rate }
    }
}

fn measure(
    model: &FoldedModel,
    language: &TextLanguage,
    tokens: &[TokenId],
) -> Result<Score, TrainError> {
    score(model, language, tokens).map_err(candle_core::Error::wrap)?.ok_or_else(too_little)
}

fn too_little() -> TrainError {
    TrainError::Data("the held-out part has less than two tokens: raise data.held_out".to_owned())
}

/// Measures the weights as they are stored, and writes the package.
fn pack(
    job: &TrainJob<'_>,
    plan: Plan,
    weights: Vec<u8>,
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
    let files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (plan.vocabulary_file.0.to_owned(), plan.vocabulary_file.1),
        (GOLDEN_LINE.to_owned(), line.as_bytes().to_vec()),
    ]);
    pack::write(job, pack::manifest(job, signature(), metrics, data), files, &[sample])
}

/// The first line of the held-out part that is long enough to say something of the weights, or else all
/// of it.
fn golden_line(held_out: &str) -> &str {
    // The first line may have lost its beginning to the part that is learned from.
    held_out.lines().skip(1).find(|line| (40..400).contains(&line.len())).unwrap_or(held_out)
}

fn signature() -> Signature {
    let text = |name: &str| {
        vec![TensorSpec { name: name.to_owned(), datatype: Datatype::Bytes, shape: vec![1] }]
    };
    Signature { inputs: text("text_input"), outputs: text("text_output") }
}
