//! From windows and recordings to tokens.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::network::logits;
use super::*;
use crate::arch::transformer::whisper::decode::{Attempt, Decoded, Manner, Rules, Task, decode};
use crate::arch::transformer::whisper::recording::{Options, Recording, Transcript};

pub fn manner(timestamps: bool, beams: usize, temperature: f32) -> Manner {
    Manner { language: None, task: Task::Transcribe, timestamps, temperature, beams }
}

fn decoded<S: Speech>(speech: &S, windows: &[u32], manner: Manner, seed: u64) -> Vec<Decoded> {
    let windows: Vec<Spectrogram> = windows.iter().map(|&seed| window(seed)).collect();
    let audio = speech.encode(&windows.iter().collect::<Vec<_>>()).unwrap();
    let mut rngs: Vec<ChaCha8Rng> = audio.iter().map(|_| ChaCha8Rng::seed_from_u64(seed)).collect();
    let mut attempts: Vec<_> =
        audio.iter().zip(&mut rngs).map(|(audio, rng)| Attempt { audio, manner, rng }).collect();
    decode(speech, &config(), &preprocessing().tokens, &mut attempts).unwrap()
}

/// The likeliest token, one after the other, each time from the whole text so far.
fn greedily<S: Speech>(speech: &S, seed: u32, timestamps: bool) -> (Vec<TokenId>, f32) {
    let tokens = preprocessing().tokens;
    let audio = speech.encode(&[&window(seed)]).unwrap().remove(0);
    let mut all: Vec<TokenId> = if timestamps { vec![9] } else { vec![9, 11] };
    let prompt = all.len();
    let mut sum = 0.0;
    while all.len() - prompt < 20 {
        let mut row = logits(speech, &audio, &all, &[all.len()]);
        Rules::new(&tokens, timestamps).apply(&mut row, &all[prompt..]).unwrap();
        let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        sum += row[best];
        if best == 8 {
            break;
        }
        all.push(best as TokenId);
    }
    (all.split_off(prompt), sum)
}

#[test]
fn one_beam_is_greedy() {
    for (seed, timestamps) in [(1, false), (2, true), (3, false), (4, true)] {
        let plan = plan(6);
        let (tokens, sum) = greedily(&plan, seed, timestamps);
        let got = decoded(&plan, &[seed], manner(timestamps, 1, 0.0), 0).remove(0);
        assert_eq!(got.tokens, tokens);
        near(&[got.log_probability], &[sum / (tokens.len() + 1) as f32]);
    }
}

#[test]
fn a_seed_draws_the_same_text_and_another_draws_another() {
    let plan = plan(7);
    let drawn = |seed| decoded(&plan, &[1], manner(false, 1, 1.0), seed).remove(0).tokens;
    assert_eq!(drawn(1), drawn(1));
    assert!((2..6).any(|seed| drawn(seed) != drawn(1)));
}

#[test]
fn a_window_is_decoded_to_the_same_bits_alone_and_among_others() {
    let plan = plan(8);
    for manner in [manner(false, 1, 0.0), manner(true, 3, 0.0), manner(true, 1, 0.8)] {
        let together = decoded(&plan, &[1, 2, 3, 4, 5], manner, 9);
        for (seed, among) in (1..).zip(&together) {
            let alone = &decoded(&plan, &[seed], manner, 9)[0];
            assert_eq!(alone, among);
            assert_eq!(alone.log_probability.to_bits(), among.log_probability.to_bits());
        }
    }
}

fn recordings() -> Vec<Recording> {
    let options = |segments, beams, temperature| Options {
        segments,
        beams,
        temperature,
        seed: 3,
        ..Options::default()
    };
    vec![
        Recording { samples: sound(500, 1), options: options(false, 1, None) },
        Recording { samples: sound(2500, 2), options: options(true, 2, Some(0.0)) },
        Recording { samples: vec![0.0; 900], options: options(true, 1, None) },
        Recording { samples: sound(800, 3), options: options(true, 1, Some(0.6)) },
    ]
}

#[test]
fn recordings_of_any_length_are_transcribed_together_as_alone() {
    let network = transcriber(plan(9));
    let all = recordings();
    let batch: Vec<&Recording> = all.iter().collect();
    let together = network.run(&batch).unwrap();
    assert_eq!(together[2], Transcript::default());
    for (recording, among) in all.iter().zip(&together) {
        assert_eq!(&network.run(&[recording]).unwrap()[0], among);
        let mut end = 0;
        for segment in &among.segments {
            assert!(end <= segment.start && segment.start < segment.end, "{among:?}");
            assert!(segment.tokens.iter().all(|&token| token < 8));
            end = segment.end;
        }
        assert!(end <= recording.samples.len());
    }
    assert!(!together[0].segments.is_empty());
    // More than are listened to at once.
    let many: Vec<&Recording> = all.iter().cycle().take(19).collect();
    let many = network.run(&many).unwrap();
    assert!(many.iter().zip(together.iter().cycle()).all(|(many, once)| many == once));
    // Four windows of 20 positions, and of two beams of up to 20 tokens.
    assert_eq!(network.cost(&all[1]), 4 * (20 + 12 * 2 * 20));
    assert!(network.run(&[]).unwrap().is_empty());
}
