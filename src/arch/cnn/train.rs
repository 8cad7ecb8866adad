//! Training a classifier of pictures: shuffled mini-batches, cross entropy, a schedule.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::arch::cnn::augment::Augmentation;
use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::config::Layer;
use crate::arch::cnn::data::{Batch, Data, Draw};
use crate::arch::cnn::evaluate::score;
use crate::arch::cnn::net::{self, Graph, Head};
use crate::arch::cnn::serve::CnnNetwork;
use crate::arch::cnn::{config, head, samples, signature};
use crate::arch::pack::{self, Signature};
use crate::arch::report::{self, Classification, Detail};
use crate::arch::{
    EpochReport, Goal, Learner, Lesson, OpenError, Outputs, TrainError, TrainJob, TrainReport,
    adopt, run, section,
};
use crate::compute::fit::cross_entropy;
use crate::compute::layers::Mode;
use crate::compute::{Device, Trainable, kernels};
use crate::dataset::pictures::Part;
use crate::domain::MediaLimits;
use crate::media::preprocessing::Preprocessing;
use crate::package::{WEIGHTS_FILE, sha256};

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
    if head(&job.recipe.task)? != Head::Softmax {
        let reason = "training reads labelled pictures, so it makes image-classification only";
        return Err(OpenError::Config { section: "task", reason: reason.to_owned() }.into());
    }
    let options: Options = section("fit.options", &job.recipe.fit.options)?;
    if !(0.0..1.0).contains(&options.label_smoothing) {
        let reason = "label_smoothing: expected 0 to below 1".to_owned();
        return Err(OpenError::Config { section: "fit.options", reason }.into());
    }
    let data = Data::read(job)?;
    let (made, network, codec) = fresh(job, &data, device)?;
    options.augmentation.check(codec.preprocessing.shape()[0])?;
    let (augmentation, batch) = (options.augmentation, job.recipe.fit.batch);
    let draw = Draw { augmentation, batch, seed: job.seed };
    let smoothing = options.label_smoothing;
    let mut lesson = Pictures { network: &network, codec: &codec, data: &data, smoothing, draw };
    let learned = [data.receipt.digest, sha256(&labels_file(&data.labels))];
    let finished = run(job, &made, device, &learned, &mut lesson)?;
    package(job, &made, &network, &codec, data, &finished.history)
}

/// A network with fresh parameters, and the codec it will be packed with.
fn fresh(
    job: &mut TrainJob<'_>,
    data: &Data,
    device: &Device,
) -> Result<(Trainable, Graph, CnnCodec), TrainError> {
    let (recipe, head) = (&job.recipe, Head::Softmax);
    let layers = config::parse(&recipe.architecture.config)?;
    let preprocessing: Preprocessing = section("preprocessing", &recipe.preprocessing)?;
    let mut made = Trainable::new(job.seed, device);
    let cnn = net::build(&layers, preprocessing.shape(), &mut made)?;
    if cnn.outputs() != data.labels.len() {
        let reason = format!("expected {} labels, one per output of the last layer", cnn.outputs());
        return Err(OpenError::Config { section: "data.labels", reason }.into());
    }
    let outputs = Outputs {
        file: super::LABELS_FILE,
        bytes: &labels_file(&data.labels),
        tensors: &[output_layer(&layers)],
    };
    adopt(job, &mut made, &outputs, device)?;
    let labels = data.labels.clone().into();
    let codec = CnnCodec { preprocessing, media: MediaLimits::default(), head, labels };
    Ok((made, Graph { cnn, head, device: device.clone() }, codec))
}

/// How the names of the tensors begin that make the scores.
fn output_layer(layers: &[Layer]) -> String {
    let makes = |layer: &Layer| matches!(layer, Layer::Linear { .. } | Layer::Convolution(_));
    format!("layers.{}.", layers.iter().rposition(makes).unwrap_or_default())
}

fn labels_file(labels: &[String]) -> Vec<u8> {
    (labels.join("\n") + "\n").into_bytes()
}

/// What is learned from and measured on.
struct Pictures<'a> {
    network: &'a Graph,
    codec: &'a CnnCodec,
    data: &'a Data,
    smoothing: f64,
    draw: Draw,
}

impl Lesson for Pictures<'_> {
    fn steps(&self) -> usize {
        self.data.train.len().div_ceil(self.draw.batch)
    }

    /// One pass over the training pictures, in a new order; the mean loss of a picture.
    fn epoch(&mut self, learner: &mut Learner<'_>) -> Result<f64, TrainError> {
        let (train, network) = (&self.data.train, self.network);
        let mut sum = 0.0;
        for batch in self.draw.epoch(train, &self.codec.preprocessing, learner.epoch())? {
            let batch = batch?;
            let (x, targets) = tensors(network, &batch)?;
            let logits = network.cnn.forward(&x, &mut Mode::Training(&mut learner.rng))?;
            let loss = cross_entropy(&logits, &targets, self.smoothing)?;
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let share = batch.labels.len() as f64 / train.len() as f64;
            sum += learner.descend(&loss)? * share;
        }
        Ok(sum)
    }

    fn measure(&mut self) -> Result<BTreeMap<String, f64>, TrainError> {
        Ok(scored(self.network, self.codec, self.data.watched())?.metrics())
    }

    fn goal(&self) -> Goal {
        Goal { metric: "accuracy", rises: true }
    }
}

/// Pixels `[rows, channels, height, width]` and labels.
fn tensors(network: &Graph, batch: &Batch) -> Result<(Tensor, Tensor), TrainError> {
    let x = network.cnn.batch(&batch.samples, &network.device)?;
    Ok((x, Tensor::new(batch.labels.as_slice(), &network.device)?))
}

/// What is answered to a part, by what will serve: on a CPU it is also many times as fast as the graph.
fn scored(network: &Graph, codec: &CnnCodec, part: &Part) -> Result<Classification, TrainError> {
    match CnnNetwork::planned(network, kernels::best()) {
        Some(planned) => score(&planned, codec, part),
        None => score(network, codec, part),
    }
}

fn package(
    job: &TrainJob<'_>,
    made: &Trainable,
    network: &Graph,
    codec: &CnnCodec,
    data: Data,
    history: &[EpochReport],
) -> Result<TrainReport, TrainError> {
    let scored = scored(network, codec, &data.test)?;
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), made.to_safetensors()?),
        (super::LABELS_FILE.to_owned(), labels_file(&data.labels)),
    ]);
    let detail = Detail::Classification(scored.detail());
    files.extend(report::files(detail.pictures(&job.label())?));
    files.extend(report::files(report::curves(&job.label(), history)?));
    let golden = samples::make(network, codec, &data.test, &mut files)?;
    let (input, output) =
        signature(network.head, codec.preprocessing.shape(), network.cnn.outputs());
    let signature = Signature { inputs: vec![input], outputs: vec![output] };
    let manifest = pack::manifest(job, signature, scored.metrics(), data.receipt);
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
            parent: None,
            freeze: Vec::new(),
            resume: false,
            report: &mut |event| epochs.extend(event.epoch().map(|report| report.epoch)),
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
        let reports = package.manifest.files.keys().filter(|path| path.starts_with("report/"));
        let expected = ["calibration", "confusion", "curves"]
            .map(|name| [format!("report/{name}.png"), format!("report/{name}.svg")]);
        assert!(reports.eq(expected.as_flattened()));
        let job =
            EvalJob { data: Some(directory.path().to_owned()), on_bad_sample: OnBadSample::Fail };
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
        // By its only step, which no loss comes after.
        let error = refused(&|r| {
            (r.fit.epochs, r.fit.batch, r.fit.optimiser.learning_rate) = (1, 16, 1e30);
        });
        assert!(error.contains("diverged at step 1"), "{error}");
    }
}
