//! Tensors and a note in one safetensors file: what a run that was cut off goes on from.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use crate::compute::{Named, WeightError};

const NOTE: &str = "note";

/// The bytes of a file that holds `tensors` (f32) and `note`.
///
/// # Errors
/// [`WeightError::Format`] when a tensor cannot be copied from its device.
pub fn encode(tensors: &Named, note: &str) -> Result<Vec<u8>, WeightError> {
    let metadata = HashMap::from([(NOTE.to_owned(), note.to_owned())]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| format(&error))
}

/// What [`encode`] wrote, with the tensors on `device`.
///
/// # Errors
/// [`WeightError::Format`] when the bytes are no such file.
pub fn decode(bytes: &[u8], device: &Device) -> Result<(Named, String), WeightError> {
    let (_, head) = SafeTensors::read_metadata(bytes).map_err(|error| format(&error))?;
    let note = head.metadata().as_ref().and_then(|metadata| metadata.get(NOTE)).cloned();
    let note = note.ok_or_else(|| format(&"it holds no note"))?;
    let tensors = candle_core::safetensors::load_buffer(bytes, device);
    let tensors: HashMap<String, Tensor> = tensors.map_err(|error| format(&error))?;
    Ok((tensors.into_iter().collect(), note))
}

fn format(error: &dyn std::fmt::Display) -> WeightError {
    WeightError::Format(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else_is() {
        let tensor =
            Tensor::new(&[[1.5_f32, -2.0], [f32::MIN_POSITIVE, 0.0]], &Device::Cpu).unwrap();
        let tensors = Named::from([("a.b".to_owned(), tensor)]);
        let bytes = encode(&tensors, "epoch 3").unwrap();
        let (again, note) = decode(&bytes, &Device::Cpu).unwrap();
        assert_eq!(note, "epoch 3");
        let values = |named: &Named| named["a.b"].to_vec2::<f32>().unwrap();
        assert_eq!(values(&again), values(&tensors));
        for end in [0, 8, bytes.len() - 1] {
            assert!(decode(&bytes[..end], &Device::Cpu).is_err(), "{end}");
        }
        let bare = safetensors::serialize(&tensors, None).unwrap();
        assert!(decode(&bare, &Device::Cpu).is_err());
    }
}
