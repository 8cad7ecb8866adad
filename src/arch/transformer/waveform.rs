//! Items of a payload to waveforms, as every recogniser reads them.

use crate::domain::{Item, Kind, MediaLimits, Payload, Problem, Tensor};
use crate::media::audio::{self, Wanted};

/// Reads sound at one rate, within the limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Waveforms {
    /// Hz.
    pub sample_rate: u32,
    pub limits: MediaLimits,
}

impl Waveforms {
    /// One waveform in about ±1 per item, each with at least one sample.
    ///
    /// # Errors
    /// [`Problem`] with the item that is no sound, does not decode, or is over the limit on seconds,
    /// which all items share: many must not bring what one may not.
    pub fn read(&self, payload: Payload) -> Result<Vec<Vec<f32>>, Problem> {
        let mut left = self.limits.audio_seconds_max;
        let mut read = |(item, pointer): (Item, String)| {
            let sound = self.item(item, left, &pointer)?;
            let seconds = sound.len().div_ceil(self.sample_rate as usize);
            left = left.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX));
            Ok(sound)
        };
        payload.into_pairs().map(&mut read).collect()
    }

    fn item(&self, item: Item, seconds_max: u32, pointer: &str) -> Result<Vec<f32>, Problem> {
        match item {
            Item::Audio(bytes) | Item::Opaque(bytes) => {
                let wanted = Wanted { sample_rate: self.sample_rate, seconds_max };
                audio::decode(bytes, wanted, pointer)
            }
            Item::Tensor(tensor) => self.tensor(tensor, seconds_max, pointer),
            other => Err(Problem::fault(
                Kind::UnsupportedMedia,
                pointer,
                "audio, or a tensor of one dimension that is a waveform",
                other.kind(),
                "send WAV, FLAC, MP3 or OGG Vorbis",
            )),
        }
    }

    fn tensor(&self, tensor: Tensor, seconds_max: u32, pointer: &str) -> Result<Vec<f32>, Problem> {
        let rate = self.sample_rate;
        let expected = format!("a waveform of one dimension at {rate} Hz, finite and in about ±1");
        let hint = "resample it on your side, or send the audio file itself";
        let refuse = |kind, got: String| Problem::fault(kind, pointer, &expected, got, hint);
        if tensor.shape().len() != 1 {
            return Err(refuse(Kind::InvalidInput, format!("shape {:?}", tensor.shape())));
        }
        let seconds = tensor.data().len() / rate as usize;
        if seconds > seconds_max as usize {
            let got = format!("{seconds} seconds: at most {seconds_max} are taken");
            return Err(refuse(Kind::TooLarge, got));
        }
        if tensor.data().is_empty() {
            return Err(refuse(Kind::InvalidInput, "no sample".to_owned()));
        }
        match tensor.data().iter().position(|sample| !sample.is_finite() || sample.abs() > 1e3) {
            None => Ok(tensor.into_data()),
            Some(at) => Err(refuse(Kind::InvalidInput, format!("{} at {at}", tensor.data()[at]))),
        }
    }
}
