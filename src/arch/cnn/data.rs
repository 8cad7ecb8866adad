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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::Picture;

    fn part(directory: &std::path::Path) -> Part {
        for index in 0..40_u8 {
            let folder = directory.join(if index % 2 == 0 { "even" } else { "odd" });
            std::fs::create_dir_all(&folder).unwrap();
            let pixels = vec![index, 100, 100, 100];
            let png = Picture::grey(2, 2, pixels).unwrap().to_png().unwrap();
            std::fs::write(folder.join(format!("{index}.png")), png).unwrap();
        }
        let config = DataConfig { test: 0.1, ..DataConfig::default() };
        pictures::open(&config, directory, &mut BadSamples::default()).unwrap().train
    }

    #[test]
    fn an_epoch_depends_on_its_seed_and_number_alone() {
        let directory = tempfile::tempdir().unwrap();
        let part = part(directory.path());
        let preprocessing: Preprocessing = toml::from_str(
            "channels = 1\nwidth = 2\nheight = 2\nfit = \"stretch\"\nfilter = \"nearest\"\n\
             mean = [0]\nstd = [1]",
        )
        .unwrap();
        let augmentation = toml::from_str("crop_padding = 1\nflip = true\ncontrast = 0.2").unwrap();
        let drawn = |seed, epoch| -> Vec<_> {
            let draw = Draw { augmentation, batch: 5, seed };
            let batches = draw.epoch(&part, &preprocessing, epoch).unwrap();
            batches.map(|batch| batch.map(|b| (b.samples, b.labels)).unwrap()).collect()
        };
        let first = drawn(1, 1);
        assert_eq!(
            first.iter().map(|(_, labels)| labels.len()).collect::<Vec<_>>(),
            [5, 5, 5, 5, 5, 5, 5, 1]
        );
        assert_eq!(drawn(1, 1), first);
        assert_ne!(drawn(1, 2), first);
        assert_ne!(drawn(2, 1), first);
        let plain: Vec<_> = in_order(&part, &preprocessing, 36).unwrap().collect();
        let Ok(Batch { samples, labels }) = &plain[0] else { panic!("expected a batch") };
        for (index, sample) in samples.iter().enumerate() {
            let is_odd = (sample[0] / 2.0).fract() > 0.25;
            assert_eq!(labels[index] == 1, is_odd, "the label is that of the picture");
        }
    }
}
