//! What a manifest says of its network, held to what the network is.

use crate::arch::OpenError;
use crate::arch::pack::Signature;
use crate::domain::TensorSpec;
use crate::package::Manifest;

/// Refuses another task than the only one that a network is for.
///
/// # Errors
/// [`OpenError::Config`] with the task that was expected.
pub fn check_task(task: &str, expected: &str) -> Result<(), OpenError> {
    if task == expected {
        return Ok(());
    }
    let reason = format!("expected {expected}, got {task:?}");
    Err(OpenError::Config { section: "task", reason })
}

/// Refuses a manifest of another task, or whose network takes or gives something else than `expected`.
///
/// # Errors
/// [`OpenError::Config`] with what was expected.
pub fn check_manifest(
    manifest: &Manifest,
    task: &str,
    expected: &Signature,
) -> Result<(), OpenError> {
    check_task(&manifest.task, task)?;
    for (section, got, expected) in [
        ("inputs", &manifest.inputs, &expected.inputs),
        ("outputs", &manifest.outputs, &expected.outputs),
    ] {
        // Names are the package's own.
        let plain = |specs: &[TensorSpec]| -> Vec<_> {
            specs.iter().map(|spec| (spec.datatype, spec.shape.clone())).collect()
        };
        let (got, expected) = (plain(got), plain(expected));
        if got != expected {
            let reason = format!("expected {expected:?} (datatypes and shapes), got {got:?}");
            return Err(OpenError::Config { section, reason });
        }
    }
    Ok(())
}
