//! The parts together, on tiny networks that nobody trained.

mod codec;
mod decoding;
mod network;

use candle_core::Tensor;

use super::config::{Kind, Tokens};
use super::vocabulary::tests::TOKENIZER;
use super::*;
use crate::compute::kernels;
use crate::compute::{Init, Parameters, Trainable};
use crate::media::mel::{MelConfig, MelScale, Normalisation, Spectrogram};

/// Words 0 to 7, end 8, start 9, no speech 10, no timestamps 11, times from 12, then two languages and
/// two tasks. A window is 0.8 s at 1 kHz.
fn config() -> Config {
    Config {
        kind: Kind::Whisper,
        mels: 6,
        width: 20,
        encoder_layers: 2,
        encoder_heads: 2,
        decoder_layers: 2,
        decoder_heads: 4,
        hidden: 24,
        audio_positions: 20,
        text_positions: 40,
        vocabulary: 37,
        alignment_heads: None,
    }
}

fn preprocessing() -> Preprocessing {
    let mel = MelConfig {
        sample_rate: 1000,
        fft: 40,
        window: 40,
        hop: 20,
        mels: 6,
        f_min: 0.0,
        f_max: 500.0,
        scale: MelScale::Htk,
        range: 8.0,
        normalisation: Normalisation::Fixed { mean: -4.0, std: 4.0 },
    };
    let tokens = Tokens {
        start: 9,
        end: 8,
        no_speech: 10,
        no_timestamps: 11,
        suppress: vec![3, 9, 10],
        suppress_first: vec![8],
        multilingual: None,
    };
    Preprocessing { mel, tokens }
}

/// Fresh weights are so small that a network says nearly the same to everything.
struct Loud(Trainable);

impl Parameters for Loud {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor, WeightError> {
        let loud = |tensor: Tensor| (tensor * 3.0).unwrap();
        self.0.get(name, shape, init).map(loud)
    }

    fn buffer(&mut self, name: &str, shape: &[usize], fill: f32) -> Result<Tensor, WeightError> {
        self.0.buffer(name, shape, fill)
    }
}

fn graph(seed: u64) -> Graph {
    let config = config();
    config.check().unwrap();
    preprocessing().check(&config).unwrap();
    let mut fresh = Loud(Trainable::new(seed, &Device::Cpu));
    let weights = Weights::new(&mut fresh, &config).unwrap();
    Graph { config, weights, device: Device::Cpu }
}

fn plan(seed: u64) -> Plan {
    Plan::new(&graph(seed), kernels::best()).unwrap()
}

fn transcriber<S: Speech>(speech: S) -> Arc<Transcriber<S>> {
    let Preprocessing { mel, tokens } = preprocessing();
    let vocabulary = Arc::new(Vocabulary::new(TOKENIZER.as_bytes(), tokens.end).unwrap());
    let mel = Mel::new(mel).unwrap();
    Arc::new(Transcriber { speech, config: config(), tokens, mel, vocabulary })
}

/// Two tones that beat, and some noise that is the same for the same seed.
fn sound(samples: usize, seed: u32) -> Vec<f32> {
    let noise = |i: usize| ((i as u32 * 7919 + seed * 104_729) % 1000) as f32 / 2000.0 - 0.25;
    let tone = |i: usize| (i as f32 * (0.3 + seed as f32 * 0.17)).sin() * 0.5;
    (0..samples).map(|i| tone(i) + noise(i)).collect()
}

fn window(seed: u32) -> Spectrogram {
    transcriber(graph(1)).log_mels(&sound(700, seed))
}

fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
    }
}
