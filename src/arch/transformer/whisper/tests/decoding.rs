//! From windows and recordings to tokens.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::network::{hear, logits};
use super::*;
use crate::arch::transformer::whisper::decode::{Attempt, Decoded, Manner, Rules, Task};
use crate::arch::transformer::whisper::recording::{Options, Recording, Times, Transcript};

pub fn manner(timestamps: bool, beams: usize, temperature: f32) -> Manner {
    Manner { language: None, task: Task::Transcribe, timestamps, temperature, beams }
}

/// What each attempt makes of its window, all stepped together.
pub fn run<S: Speech>(
    speech: &S,
    tokens: &Tokens,
    mut attempts: Vec<Attempt<S::State>>,
    seed: u64,
) -> Vec<Decoded> {
    let mut rngs = vec![ChaCha8Rng::seed_from_u64(seed); attempts.len()];
    let mut done = vec![None; attempts.len()];
    let mut logits = Vec::new();
    while done.iter().any(Option::is_none) {
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for attempt in &mut attempts {
            let before = rows.len();
            attempt.rows(&mut rows);
            counts.push((rows.len() - before) * config().vocabulary);
        }
        speech.step(&mut rows, &mut logits).unwrap();
        let mut left = &mut logits[..];
        for (i, count) in counts.into_iter().enumerate() {
            let (own, rest) = left.split_at_mut(count);
            left = rest;
            let scores = own.chunks_exact_mut(config().vocabulary);
            let positions = config().text_positions;
            let end = attempts[i].take(scores, tokens, positions, &mut rngs[i]).unwrap();
            done[i] = done[i].take().or(end);
        }
    }
    done.into_iter().flatten().collect()
}

fn decoded<S: Speech>(speech: &S, windows: &[u32], manner: Manner, seed: u64) -> Vec<Decoded> {
    let tokens = &preprocessing().tokens;
    let begin = |&window: &u32| speech.begin(&hear(speech, window));
    let attempts =
        windows.iter().map(|window| Attempt::new(begin(window), manner, &[], tokens)).collect();
    run(speech, tokens, attempts, seed)
}

/// The likeliest token, one after the other, each time from the whole text so far.
fn greedily<S: Speech>(speech: &S, seed: u32, timestamps: bool) -> (Vec<TokenId>, f32) {
    let tokens = preprocessing().tokens;
    let audio = hear(speech, seed);
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
    let options = |times, beams, temperature| Options {
        times,
        beams,
        temperature,
        seed: 3,
        ..Options::default()
    };
    let recording = |samples, options| Recording { samples, options, before: Arc::default() };
    vec![
        recording(sound(500, 1), options(Times::None, 1, None)),
        recording(sound(2500, 2), options(Times::Segments, 2, Some(0.0))),
        recording(vec![0.0; 900], options(Times::Segments, 1, None)),
        recording(sound(800, 3), options(Times::Words, 1, Some(0.6))),
    ]
}

/// The words of each segment are its text, and come one after the other.
fn has_words(vocabulary: &Vocabulary, made: &Transcript) {
    assert!(!made.segments.is_empty());
    let mut end = 0;
    for segment in &made.segments {
        let text: String = segment.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(text, vocabulary.text(&segment.tokens));
        for word in &segment.words {
            assert!(end <= word.start && word.start <= word.end && word.end <= 800, "{made:?}");
            assert!(word.log_probability <= 0.0);
            end = word.end;
        }
    }
}

#[test]
fn what_was_said_before_is_read_before_the_window() {
    let plan = plan(6);
    let (tokens, audio) = (preprocessing().tokens, hear(&plan, 1));
    let attempt = Attempt::new(plan.begin(&audio), manner(false, 1, 0.0), &[6, 1, 5], &tokens);
    let got = run(&plan, &tokens, vec![attempt], 0).remove(0);
    let mut row = logits(&plan, &audio, &[6, 1, 5, 9, 11], &[5]);
    Rules::new(&tokens, false).apply(&mut row, &[]).unwrap();
    let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    assert_eq!(got.tokens.first().map_or(8, |&token| token as usize), best);
    // Nobody speaks with the probability that is told after the start, wherever that stands.
    let mut row = logits(&plan, &audio, &[6, 1, 5, 9], &[4]);
    let sum: f32 = row.iter_mut().map(|value| value.exp()).sum();
    near(&[got.no_speech], &[row[10].exp() / sum]);
}

#[test]
fn recordings_of_any_length_are_transcribed_together_as_alone() {
    let network = transcriber(plan(9));
    let all = recordings();
    let drive = |some: Vec<Recording>, at_once| engine::drive(&network, some, at_once).unwrap();
    let together = drive(all.clone(), 8);
    assert_eq!(together[2], Transcript::default());
    for (recording, among) in all.iter().zip(&together) {
        assert_eq!(&drive(vec![recording.clone()], 1)[0], among);
        let mut end = 0;
        for segment in &among.segments {
            assert!(end <= segment.start && segment.start < segment.end, "{among:?}");
            assert!(segment.tokens.iter().all(|&token| token < 8));
            end = segment.end;
        }
        assert!(end <= recording.samples.len());
    }
    assert!(!together[0].segments.is_empty());
    has_words(&network.vocabulary, &together[3]);
    assert!(together[..3].iter().flat_map(|made| &made.segments).all(|said| said.words.is_empty()));
    // More than are listened to at once, so that they join between each other's steps.
    let many: Vec<Recording> = all.iter().cycle().take(19).cloned().collect();
    for at_once in [2, 5] {
        let many = drive(many.clone(), at_once);
        assert_eq!(many.len(), 19);
        assert!(many.iter().zip(together.iter().cycle()).all(|(many, once)| many == once));
    }
    assert!(drive(vec![], 8).is_empty());
}
