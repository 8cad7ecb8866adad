//! What a run is after an epoch, in one file beside its package's place: it is replaced as a whole, so that a run
//! that is killed at any moment finds the last whole one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arch::train::learner::Place;
use crate::arch::train::{EpochReport, TrainError};
use crate::compute::fit::file;
use crate::compute::{Device, Named};
use crate::domain::{Digest, ModelName, Version};
use crate::package;

/// A run after an epoch.
pub struct Checkpoint {
    pub note: Note,
    pub weights: Named,
    pub moments: Named,
    /// The weights of the best epoch, where it is not this one.
    pub best: Named,
}

/// Everything about it that is no tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Of the recipe, the seed and the data: a run goes on as what it was.
    pub run: Digest,
    pub place: Place,
    /// One report an epoch.
    pub history: Vec<EpochReport>,
}

/// Where the checkpoint of a version that is being made lies. A store passes over such a name.
#[must_use]
pub fn path(out: &Path, name: &ModelName, version: Version) -> PathBuf {
    out.join(name.as_str()).join(format!(".{version}.checkpoint"))
}

const PARTS: [&str; 3] = ["weights", "moments", "best"];

impl Checkpoint {
    /// Puts it where `path` says, in the place of the one before.
    ///
    /// # Errors
    /// [`TrainError::Package`] when it cannot be written; the one before is there yet.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors = Named::new();
        for (part, named) in PARTS.into_iter().zip([&self.weights, &self.moments, &self.best]) {
            tensors.extend(named.iter().map(|(name, t)| (format!("{part}/{name}"), t.clone())));
        }
        let note = serde_json::to_string(&self.note)
            .map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        Ok(package::replace(path, &file::encode(&tensors, &note)?)?)
    }

    /// # Errors
    /// [`TrainError::Checkpoint`] when there is none, or it is of no use.
    pub fn read(path: &Path, device: &Device) -> Result<Self, TrainError> {
        let refuse = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                refuse("there is none: begin without --resume".to_owned())
            }
            _ => refuse(error.to_string()),
        })?;
        let spoiled = |reason: &dyn std::fmt::Display| {
            refuse(format!("it does not read ({reason}): remove it and begin again"))
        };
        let (tensors, note) = file::decode(&bytes, device).map_err(|error| spoiled(&error))?;
        let note = serde_json::from_str(&note).map_err(|error| spoiled(&error))?;
        let [mut weights, mut moments, mut best] = [const { Named::new() }; PARTS.len()];
        for (name, tensor) in tensors {
            let (part, name) = name.split_once('/').unwrap_or_default();
            let named = match part {
                "weights" => &mut weights,
                "moments" => &mut moments,
                "best" => &mut best,
                _ => return Err(spoiled(&"a tensor of no known part")),
            };
            named.insert(name.to_owned(), tensor);
        }
        Ok(Self { note, weights, moments, best })
    }
}
