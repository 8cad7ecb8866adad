//! The pictures that a recipe names, in their parts.

use crate::arch::cnn::evaluate::{DataConfig, TEST, unknown_label};
use crate::arch::pack::DataReceipt;
use crate::arch::{TrainError, TrainJob, section};
use crate::dataset::idx::{Reader, Split};

/// What a run learns from and is measured on.
pub struct Data {
    pub train: Split,
    pub test: Split,
    pub labels: Vec<String>,
    pub receipt: DataReceipt,
}

impl Data {
    /// The digest is over the training pictures and labels, then the test pictures and labels.
    pub fn read(job: &TrainJob<'_>) -> Result<Self, TrainError> {
        let config: DataConfig = section("data", &job.recipe.data)?;
        let directory = job.data.as_ref().unwrap_or(&config.directory);
        let mut reader = Reader::new(directory);
        let (train, test) = (reader.split("train")?, reader.split(TEST)?);
        let classes = config.labels.len();
        for label in train.labels.iter().chain(&test.labels).map(|&label| usize::from(label)) {
            if label >= classes {
                return Err(unknown_label(label, classes));
            }
        }
        let description = format!(
            "{} training and {} test pictures of {} x {} in {classes} classes",
            train.len(),
            test.len(),
            train.columns,
            train.rows
        );
        let receipt = DataReceipt { digest: reader.digest(), description };
        Ok(Self { train, test, labels: config.labels, receipt })
    }
}
