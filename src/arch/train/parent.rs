//! Going on from another package's weights: fine-tuning.

use crate::arch::TrainError;
use crate::arch::train::{Event, TrainJob};
use crate::compute::{Device, Named, Trainable, WeightError};
use crate::package::{Package, WEIGHTS_FILE};

/// The package that a run goes on from.
pub struct Parent {
    pub package: Package,
}

/// What a network's outputs mean, and which of its tensors say so.
pub struct Outputs<'a> {
    /// The package's file that lists them: labels, characters, a vocabulary.
    pub file: &'a str,
    pub bytes: &'a [u8],
    /// How the names of those tensors begin.
    pub tensors: &'a [String],
}

/// Gives fresh `parameters` the values of the job's parent, if it has one, and freezes what the job freezes. Where the
/// outputs are others than the parent's, their tensors stay fresh, which the job's report is told.
///
/// # Errors
/// [`TrainError::Parent`] when the parent is of another architecture, or its network has other tensors;
/// [`TrainError::Freeze`] when nothing has a name that is to be frozen, or everything has.
pub fn adopt(
    job: &mut TrainJob<'_>,
    parameters: &mut Trainable,
    outputs: &Outputs<'_>,
    device: &Device,
) -> Result<(), TrainError> {
    if let Some(Parent { package }) = &job.parent {
        let values = values(job, package, device)?;
        let fresh = |name: &str| {
            let begins = outputs.tensors.iter().any(|head| name.starts_with(head));
            begins && !package.file(outputs.file).is_ok_and(|theirs| theirs == outputs.bytes)
        };
        let fresh = parameters.adopt(&values, fresh);
        let fresh = fresh.map_err(|error| refuse(package, &other(&error)))?;
        if !fresh.is_empty() {
            (job.report)(Event::Fresh(&fresh));
        }
    }
    for name in &job.freeze {
        if !parameters.freeze(name) {
            let reason = format!(
                "--freeze {name}: expected a parameter's name or its beginning up to a dot; they are {}",
                parameters.names().collect::<Vec<_>>().join(", ")
            );
            return Err(TrainError::Freeze(reason));
        }
    }
    if parameters.variables().is_empty() {
        return Err(TrainError::Freeze("--freeze: nothing is left to learn".to_owned()));
    }
    Ok(())
}

fn values(job: &TrainJob<'_>, package: &Package, device: &Device) -> Result<Named, TrainError> {
    let (theirs, ours) = (&package.manifest.architecture.name, &job.recipe.architecture.name);
    if theirs != ours {
        let reason = format!("it is a {theirs}: expected a {ours}, as the recipe says");
        return Err(refuse(package, &reason));
    }
    let loaded = candle_core::safetensors::load_buffer(package.file(WEIGHTS_FILE)?, device)?;
    let float = |(name, tensor): (String, candle_core::Tensor)| {
        Ok((name, tensor.to_dtype(candle_core::DType::F32)?))
    };
    Ok(loaded.into_iter().map(float).collect::<candle_core::Result<_>>()?)
}

fn other(error: &WeightError) -> String {
    format!("its network is another than the recipe's: {error}")
}

fn refuse(package: &Package, reason: &str) -> TrainError {
    TrainError::Parent { package: package.label(), reason: reason.to_owned() }
}
