//! Training a classifier of pictures: shuffled mini-batches, cross entropy, a schedule.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::arch::cnn::augment::Augmentation;
use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::data::{Batch, Data, Draw};
use crate::arch::cnn::evaluate::score;
use crate::arch::cnn::net::{self, Graph, Head};
use crate::arch::cnn::{config, head, samples, signature};
use crate::arch::pack::{self, Signature};
use crate::arch::{EpochReport, FitSection, OpenError, TrainError, TrainJob, TrainReport, section};
use crate::compute::fit::{Optimiser, cross_entropy};
use crate::compute::layers::Mode;
use crate::compute::{Device, Trainable};
use crate::dataset::pictures::Part;
use crate::domain::MediaLimits;
use crate::media::preprocessing::Preprocessing;
use crate::package::WEIGHTS_FILE;

/// A recipe's `[fit.options]`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The part of each target that is spread over all classes.
    label_smoothing: f64,
    augmentation: Augmentation,
}

/// Trains what the job's recipe describes and packs it, with golden samples from the test pictures.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let options: Options = section("fit.options", &job.recipe.fit.options)?;
    let data = Data::read(job)?;
    let (made, network, codec) = fresh(job, &data, device)?;
    {
        options.augmentation.check(codec.preprocessing.shape()[0])?;
        let mut fit = Fit::new(job, &made, options)?;
        for epoch in 1..=job.recipe.fit.epochs {
            let started = Instant::now();
            let train_loss = fit.epoch(&network, &codec, &data.train, epoch)?;
            let metrics = score(&network, &codec, data.watched())?;
            let seconds = started.elapsed().as_secs_f64();
            (job.report)(&EpochReport { epoch, train_loss, metrics, seconds });
        }
    }
    let metrics = score(&network, &codec, &data.test)?;
    package(job, &made, &network, &codec, data, metrics)
}

/// A network with fresh parameters, and the codec it will be packed with.
fn fresh(
    job: &TrainJob<'_>,
    data: &Data,
    device: &Device,
) -> Result<(Trainable, Graph, CnnCodec), TrainError> {
    let recipe = &job.recipe;
    let head = head(&recipe.task)?;
    if head != Head::Softmax {
        let reason = "training reads labelled pictures, so it makes image-classification only";
        return Err(TrainError::Data(reason.to_owned()));
    }
    let layers = config::parse(&recipe.architecture.config)?;
    let preprocessing: Preprocessing = section("preprocessing", &recipe.preprocessing)?;
    let mut made = Trainable::new(job.seed, device);
    let cnn = net::build(&layers, preprocessing.shape(), &mut made)?;
    if cnn.outputs() != data.labels.len() {
        let reason = format!("expected {} labels, one per output of the last layer", cnn.outputs());
        return Err(OpenError::Config { section: "data.labels", reason }.into());
    }
    let labels = data.labels.clone();
    let codec = CnnCodec { preprocessing, media: MediaLimits::default(), head, labels };
    Ok((made, Graph { cnn, head, device: device.clone() }, codec))
}

/// The state of one run.
struct Fit {
    section: FitSection,
    options: Options,
    optimiser: Optimiser,
    draw: Draw,
    rng: ChaCha8Rng,
    step: usize,
}

impl Fit {
    fn new(job: &TrainJob<'_>, made: &Trainable, options: Options) -> Result<Self, TrainError> {
        let section = job.recipe.fit.clone();
        let refuse = |reason: &str| OpenError::Config { section: "fit", reason: reason.to_owned() };
        if section.batch == 0 {
            return Err(refuse("batch: expected a number above 0").into());
        }
        if !(0.0..1.0).contains(&options.label_smoothing) {
            return Err(refuse("options.label_smoothing: expected 0 to below 1").into());
        }
        let optimiser = Optimiser::new(section.optimiser.clone(), made.variables())?;
        // Fresh parameters come from stream 0 of the same seed.
        let mut rng = ChaCha8Rng::seed_from_u64(job.seed);
        rng.set_stream(1);
        let draw =
            Draw { augmentation: options.augmentation, batch: section.batch, seed: job.seed };
        Ok(Self { section, options, optimiser, draw, rng, step: 0 })
    }

    /// One pass over the training pictures, in a new order; the mean loss of a picture.
    fn epoch(
        &mut self,
        network: &Graph,
        codec: &CnnCodec,
        train: &Part,
        epoch: usize,
    ) -> Result<f64, TrainError> {
        let steps = self.section.epochs * train.len().div_ceil(self.section.batch);
        let mut sum = 0.0;
        for batch in self.draw.epoch(train, &codec.preprocessing, epoch)? {
            let batch = batch?;
            let (x, targets) = tensors(network, &batch)?;
            let factor = self.section.schedule.factor(self.step, steps);
            let loss = self.descend(network, &x, &targets, factor)?;
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let share = batch.labels.len() as f64 / train.len() as f64;
            sum += loss * share;
        }
        Ok(sum)
    }

    /// One step down the gradient; the loss before it.
    fn descend(
        &mut self,
        network: &Graph,
        x: &Tensor,
        targets: &Tensor,
        factor: f64,
    ) -> Result<f64, TrainError> {
        let logits = network.cnn.forward(x, &mut Mode::Training(&mut self.rng))?;
        let loss = cross_entropy(&logits, targets, self.options.label_smoothing)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        self.step += 1;
        // A loss can be the last number before a gradient that is none.
        if value.is_finite() && self.optimiser.step(&loss.backward()?, factor)?.is_finite() {
            return Ok(value);
        }
        let learning_rate = self.section.optimiser.learning_rate * factor;
        Err(TrainError::Diverged { step: self.step, loss: value, learning_rate })
    }
}

fn tensors(network: &Graph, batch: &Batch) -> Result<(Tensor, Tensor), TrainError> {
    let x = network.cnn.batch(&batch.samples, &network.device)?;
    Ok((x, Tensor::new(batch.labels.as_slice(), &network.device)?))
}

fn package(
    job: &TrainJob<'_>,
    made: &Trainable,
    network: &Graph,
    codec: &CnnCodec,
    data: Data,
    metrics: BTreeMap<String, f64>,
) -> Result<TrainReport, TrainError> {
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), made.to_safetensors()?),
        (super::LABELS_FILE.to_owned(), (data.labels.join("\n") + "\n").into_bytes()),
    ]);
    let golden = samples::make(network, codec, &data.test, &mut files)?;
    let (input, output) =
        signature(network.head, codec.preprocessing.shape(), network.cnn.outputs());
    let signature = Signature { inputs: vec![input], outputs: vec![output] };
    let manifest = pack::manifest(job, signature, metrics, data.receipt);
    pack::write(job, manifest, files, &golden, data.left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::cnn::evaluate::evaluate;
    use crate::arch::{EvalJob, OnBadSample, Recipe, golden};
    use crate::package::Package;
    use std::path::Path;

    const RECIPE: &str = r#"
        name = "tiny"
        version = 1
        task = "image-classification"
        description = "Bars"
        author = "a test"
        licence = "MIT"
        [preprocessing]
        channels = 1
        width = 8
        height = 8
        fit = "stretch"
        filter = "triangle"
        mean = [128]
        std = [64]
        [architecture]
        name = "cnn"
        [architecture.config]
        layers = [
            { kind = "convolution", out = 4, kernel = 3, padding = "same", bias = false },
            { kind = "batch-norm" },
            { kind = "silu" },
            { kind = "max-pool", kernel = 2 },
            { kind = "inverted-bottleneck", out = 4, expand = 2, kernel = 3, activation = "hard-swish" },
            { kind = "global-average-pool" },
            { kind = "linear", out = 4 },
        ]
        [data]
        directory = "."
        labels = ["low bar", "high bar", "left", "right"]
        [fit]
        epochs = 25
        batch = 8
        optimiser = { method = "adamw", learning_rate = 0.02 }
        schedule = { kind = "constant" }
    "#;

    /// Sixteen pictures: a bright half, below, above, left or right, at four brightnesses.
    fn write_data(directory: &Path) {
        let bright = |class: usize, row: usize, column: usize| match class {
            0 => row >= 4,
            1 => row < 4,
            2 => column < 4,
            _ => column >= 4,
        };
        let mut pictures = vec![0, 0, 8, 3, 0, 0, 0, 16, 0, 0, 0, 8, 0, 0, 0, 8];
        let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 16];
        for index in 0..16_u8 {
            let (class, brightness) = (index % 4, 120 + 40 * (index / 4));
            let pixel = |i: usize| if bright(class.into(), i / 8, i % 8) { brightness } else { 20 };
            pictures.extend((0..64).map(pixel));
            labels.push(class);
        }
        for split in ["train", "t10k"] {
            std::fs::write(directory.join(format!("{split}-images-idx3-ubyte")), &pictures)
                .unwrap();
            std::fs::write(directory.join(format!("{split}-labels-idx1-ubyte")), &labels).unwrap();
        }
    }

    fn trained(
        directory: &Path,
        seed: u64,
        change: impl Fn(&mut Recipe),
    ) -> Result<TrainReport, TrainError> {
        write_data(directory);
        let mut recipe: Recipe = toml::from_str(RECIPE).unwrap();
        change(&mut recipe);
        let mut epochs = Vec::new();
        let mut job = TrainJob {
            recipe,
            recipe_text: RECIPE.to_owned(),
            command: "maas train".to_owned(),
            source_revision: "test".to_owned(),
            data: Some(directory.to_owned()),
            seed,
            on_bad_sample: OnBadSample::Fail,
            out: directory.join(format!("out-{seed}")),
            report: &mut |epoch| epochs.push(epoch.epoch),
        };
        let report = train(&mut job, &Device::Cpu);
        let expected: Vec<usize> = (1..=job.recipe.fit.epochs).collect();
        assert!(report.is_err() || epochs == expected, "{epochs:?}");
        report
    }

    #[test]
    fn a_small_network_learns_sixteen_pictures_and_its_package_opens() {
        let directory = tempfile::tempdir().unwrap();
        let report = trained(directory.path(), 1, |_| {}).unwrap();
        assert!(report.metrics["accuracy"] > 0.99, "{:?}", report.metrics);

        let package = Package::open(&report.place).unwrap();
        let names: Vec<_> = golden::samples(&package).unwrap();
        let names: Vec<_> = names.iter().map(|sample| sample.input.as_str()).collect();
        let expected =
            ["golden/bar.png", "golden/1-bar.png", "golden/left.png", "golden/right.png"];
        assert_eq!(names, expected);
        let job =
            EvalJob { data: Some(directory.path().to_owned()), on_bad_sample: OnBadSample::Fail };
        // What is packed was measured on the graph, and is served by the plan.
        let again = evaluate(&package, &job, &Device::Cpu).unwrap().metrics;
        assert!(again.keys().eq(report.metrics.keys()));
        for (name, value) in again {
            assert!((value - report.metrics[&name]).abs() < 1e-6, "{name}: {value}");
        }
    }

    #[test]
    fn one_seed_gives_the_same_weights_and_no_epochs_give_fresh_ones() {
        let weights = |seed, epochs| {
            let directory = tempfile::tempdir().unwrap();
            let report =
                trained(directory.path(), seed, |recipe| recipe.fit.epochs = epochs).unwrap();
            Package::open(&report.place).unwrap().file(WEIGHTS_FILE).unwrap().to_vec()
        };
        assert_eq!(weights(1, 2), weights(1, 2));
        assert_ne!(weights(1, 2), weights(2, 2));
        assert_ne!(weights(1, 2), weights(1, 0));
    }

    #[test]
    fn what_cannot_be_trained_is_refused() {
        let refused = |change: &dyn Fn(&mut Recipe)| {
            let directory = tempfile::tempdir().unwrap();
            trained(directory.path(), 0, change).unwrap_err().to_string()
        };
        assert!(refused(&|r| r.task = "image-regression".into()).contains("classification"));
        assert!(refused(&|r| r.fit.batch = 0).contains("batch"));
        let labels = |count: usize| vec!["x"; count].into();
        assert!(refused(&|r| drop(r.data.insert("labels".into(), labels(3)))).contains("label 3"));
        assert!(refused(&|r| drop(r.data.insert("labels".into(), labels(5)))).contains("4 labels"));
        let error = refused(&|r| r.fit.optimiser.learning_rate = 1e30);
        assert!(error.contains("diverged at step"), "{error}");
    }
}
