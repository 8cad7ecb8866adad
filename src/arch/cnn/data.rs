//! The pictures that a recipe names, and batches of them as the network reads them.

use std::collections::BTreeMap;

use crate::arch::cnn::augment::Augmentation;
use crate::arch::pack::DataReceipt;
use crate::arch::{TrainError, TrainJob, section};
use crate::dataset::pictures::{self, Part};
use crate::dataset::{Ahead, BadSamples, DataError, order, random};
use crate::media::preprocessing::Preprocessing;

pub use crate::dataset::pictures::Config as DataConfig;

/// What a run learns from and is measured on.
pub struct Data {
    pub train: Part,
    /// Measured on after each epoch; `None` when the recipe holds none out.
    pub validation: Option<Part>,
    /// Measured on when the run is over, and after each epoch where there is no validation part.
    pub test: Part,
    pub labels: Vec<String>,
    pub receipt: DataReceipt,
    /// What was left out, one line a sample.
    pub left_out: Vec<String>,
}

impl Data {
    /// # Errors
    /// [`TrainError::Dataset`] naming what is of no use.
    pub fn read(job: &TrainJob<'_>) -> Result<Self, TrainError> {
        let config: DataConfig = section("data", &job.recipe.data)?;
        let directory = job.data.as_ref().unwrap_or(&config.directory);
        let mut bad = BadSamples::new(job.on_bad_sample);
        let made = pictures::open(&config, directory, &mut bad)?;
        let parts = BTreeMap::from([
            ("train".to_owned(), made.train.len()),
            ("validation".to_owned(), made.validation.as_ref().map_or(0, Part::len)),
            ("test".to_owned(), made.test.len()),
            ("left_out".to_owned(), bad.count()),
        ]);
        let description =
            format!("pictures in {} classes, from {}", made.labels.len(), made.format);
        let receipt =
            DataReceipt { digest: made.digest, description, parts, seed: Some(config.seed) };
        Ok(Self {
            train: made.train,
            validation: made.validation,
            test: made.test,
            labels: made.labels,
            receipt,
            left_out: bad.left_out(),
        })
    }

    /// What is measured on after each epoch.
    pub fn watched(&self) -> &Part {
        self.validation.as_ref().unwrap_or(&self.test)
    }
}

/// Pictures as the network reads them, and the class of each.
pub struct Batch {
    pub samples: Vec<Vec<f32>>,
    pub labels: Vec<u32>,
}

/// How training pictures are drawn and changed: all of it depends on the seed and the epoch alone.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub augmentation: Augmentation,
    pub batch: usize,
    pub seed: u64,
}

impl Draw {
    /// The batches of an epoch, in its own order, prepared by threads ahead of the step.
    ///
    /// # Errors
    /// [`DataError::Lost`] when no thread can be started.
    pub fn epoch(
        self,
        part: &Part,
        preprocessing: &Preprocessing,
        epoch: usize,
    ) -> Result<Ahead<Batch>, DataError> {
        let (preprocessing, shape) = (preprocessing.clone(), preprocessing.shape());
        let order = order(part.len(), self.seed, epoch);
        load(part, order, self.batch, move |part, index| {
            let pixels = preprocessing.pixels(&part.picture(index)?);
            let rng = &mut random(self.seed, epoch, index);
            Ok(preprocessing.normalise(&self.augmentation.apply(pixels, shape, rng)))
        })
    }
}

/// All pictures of a part as they are, in their order, prepared by threads ahead of the network.
///
/// # Errors
/// [`DataError::Lost`] when no thread can be started.
pub fn in_order(
    part: &Part,
    preprocessing: &Preprocessing,
    batch: usize,
) -> Result<Ahead<Batch>, DataError> {
    let preprocessing = preprocessing.clone();
    load(part, (0..part.len()).collect(), batch, move |part, index| {
        part.picture(index).map(|picture| preprocessing.apply(&picture))
    })
}

fn load(
    part: &Part,
    order: Vec<usize>,
    batch: usize,
    sample: impl Fn(&Part, usize) -> Result<Vec<f32>, DataError> + Send + Sync + 'static,
) -> Result<Ahead<Batch>, DataError> {
    let part = part.clone();
    let batch = batch.max(1);
    Ahead::new(order.len().div_ceil(batch), move |number| {
        let indices = &order[number * batch..];
        let indices = &indices[..batch.min(indices.len())];
        let samples: Result<_, _> = indices.iter().map(|&index| sample(&part, index)).collect();
        Ok(Batch {
            samples: samples?,
            labels: indices.iter().map(|&index| class(&part, index)).collect(),
        })
    })
}

/// Every class is below the number of labels.
fn class(part: &Part, index: usize) -> u32 {
    u32::try_from(part.label(index)).unwrap_or(u32::MAX)
}
