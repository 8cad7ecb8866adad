//! The parts together, on tiny networks that nobody trained.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::config::{Kind, Multilingual, Tokens};
use super::decode::{Attempt, Decoded, Manner, Rules, Task, decode};
use super::recording::{Options, Recording, Transcript};
use super::speech::Row;
use super::vocabulary::tests::TOKENIZER;
use super::*;
use crate::compute::kernels;
use crate::compute::{Init, Parameters, Trainable};
use crate::domain::{Item, ParamValue, Params, Payload, Problem};
use crate::engine::{Codec, Network, TokenId};
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

fn transcriber<S: Speech>(speech: S) -> Transcriber<S> {
    let Preprocessing { mel, tokens } = preprocessing();
    let vocabulary = Arc::new(Vocabulary::new(TOKENIZER.as_bytes(), tokens.end).unwrap());
    let mel = Mel::new(mel).unwrap();
    Transcriber { speech, config: config(), tokens, mel, vocabulary }
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

/// The logits after `tokens`, read in parts of the given lengths.
fn logits<S: Speech>(
    speech: &S,
    audio: &S::Audio,
    tokens: &[TokenId],
    parts: &[usize],
) -> Vec<f32> {
    let mut cache = speech.begin();
    let (mut at, mut logits) = (0, Vec::new());
    for &count in parts {
        let tokens = &tokens[at..at + count];
        logits = speech.step(&mut [Row { audio, cache: &mut cache, tokens }]).unwrap().remove(0);
        at += count;
    }
    logits
}

const SAID: &[TokenId] = &[9, 11, 1, 5, 2, 2, 7];

#[test]
fn the_plan_computes_what_the_graph_does() {
    let (graph, plan) = (graph(3), plan(3));
    let window = window(1);
    near(&plan.positions(&window).unwrap(), &graph.positions(&window).unwrap());
    let [on_graph] = &graph.encode(&[&window]).unwrap()[..] else { panic!("one window") };
    let [on_plan] = &plan.encode(&[&window]).unwrap()[..] else { panic!("one window") };
    let parts = [1, 3, 1, 1, 1];
    let expected = logits(&graph, on_graph, SAID, &parts);
    near(&logits(&plan, on_plan, SAID, &parts), &expected);
    assert!(expected.iter().any(|value| value.abs() > 0.1));
}

fn remembers<S: Speech>(speech: &S) {
    let audio = speech.encode(&[&window(2)]).unwrap().remove(0);
    let whole = logits(speech, &audio, SAID, &[SAID.len()]);
    near(&logits(speech, &audio, SAID, &[1; 7]), &whole);
    near(&logits(speech, &audio, SAID, &[2, 4, 1]), &whole);
    let other = logits(speech, &audio, &SAID[1..], &[SAID.len() - 1]);
    assert!(other.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-2), "the first token counts");
}

#[test]
fn what_was_read_is_remembered_as_if_it_were_read_again() {
    remembers(&graph(4));
    remembers(&plan(4));
}

fn forks<S: Speech>(speech: &S) {
    let audio = &speech.encode(&[&window(2)]).unwrap().remove(0);
    let mut first = speech.begin();
    speech.step(&mut [Row { audio, cache: &mut first, tokens: &SAID[..3] }]).unwrap();
    let mut second = first.clone();
    let got = speech.step(&mut [
        Row { audio, cache: &mut first, tokens: &[5] },
        Row { audio, cache: &mut second, tokens: &[6] },
    ]);
    for (got, last) in got.unwrap().iter().zip([5, 6]) {
        let all = [SAID[0], SAID[1], SAID[2], last];
        near(got, &logits(speech, audio, &all, &[4]));
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    forks(&graph(5));
    forks(&plan(5));
}

#[test]
fn what_does_not_fit_the_network_is_an_error_and_no_panic() {
    let (graph, plan) = (graph(1), plan(1));
    let short = Spectrogram { mels: 6, data: vec![0.0; 12] };
    assert!(graph.encode(&[&short]).is_err() && plan.encode(&[&short]).is_err());
    fn refuses<S: Speech>(speech: &S) {
        let audio = &speech.encode(&[&window(1)]).unwrap().remove(0);
        for tokens in [&[][..], &[37], &[1; 41]] {
            let cache = &mut speech.begin();
            assert!(speech.step(&mut [Row { audio, cache, tokens }]).is_err(), "{tokens:?}");
        }
    }
    refuses(&graph);
    refuses(&plan);
}

fn manner(timestamps: bool, beams: usize, temperature: f32) -> Manner {
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
    assert_eq!(network.cost(&all[1]), 4 * 20);
    assert!(network.run(&[]).unwrap().is_empty());
}

fn codec(multilingual: bool) -> WhisperCodec {
    let mut tokens = preprocessing().tokens;
    if multilingual {
        let languages = [("de".to_owned(), 34), ("en".to_owned(), 33)].into();
        tokens.multilingual = Some(Multilingual { transcribe: 35, translate: 36, languages });
    }
    let vocabulary = Arc::new(Vocabulary::new(TOKENIZER.as_bytes(), 8).unwrap());
    let waveforms = Waveforms { sample_rate: 1000, limits: MediaLimits::default() };
    WhisperCodec { waveforms, tokens, vocabulary, longest: 3200 }
}

#[test]
fn a_network_of_several_languages_hears_which_one_it_is() {
    let plan = plan(10);
    let tokens = codec(true).tokens;
    let audio = plan.encode(&[&window(1)]).unwrap().remove(0);
    let first = logits(&plan, &audio, &[9], &[1]);
    let heard = if first[33] >= first[34] { 33 } else { 34 };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut ask = |language, task| {
        let manner = Manner { language, task, ..manner(false, 1, 0.0) };
        let attempt = Attempt { audio: &audio, manner, rng: &mut rng };
        decode(&plan, &config(), &tokens, &mut [attempt]).unwrap().remove(0)
    };
    let unsaid = ask(None, Task::Transcribe);
    assert_eq!(unsaid.language, Some(heard));
    assert_eq!(ask(Some(heard), Task::Transcribe), unsaid);
    assert_eq!(ask(Some(67 - heard), Task::Translate).language, Some(67 - heard));
    // The prompt is the start, the language, the task, and that times are left out.
    let mut row = logits(&plan, &audio, &[9, heard, 35, 11], &[4]);
    Rules::new(&tokens, false).apply(&mut row, &[]).unwrap();
    let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    assert_eq!(unsaid.tokens[0] as usize, best);
}

fn asked(codec: &WhisperCodec, params: &[(&str, ParamValue)]) -> Result<Options, Problem> {
    let mut all = Params::default();
    for (name, value) in params {
        assert!(all.insert(name, value.clone(), format!("/parameters/{name}")));
    }
    let tensor = crate::domain::Tensor::new(vec![900], sound(900, 1)).unwrap();
    let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
    codec.decode(payload, &all).map(|(samples, _)| samples[0].options)
}

#[test]
fn parameters_are_read_and_refused_by_their_place() {
    let text = |text: &str| ParamValue::Text(text.to_owned());
    let (english, all) = (codec(false), codec(true));
    let options = asked(
        &english,
        &[
            ("language", text("en")),
            ("task", text("transcribe")),
            ("timestamps", text("segment")),
            ("beam_size", ParamValue::Number(5.0)),
            ("seed", text("7")),
        ],
    );
    let expected = Options { segments: true, beams: 5, seed: 7, ..Options::default() };
    assert_eq!(options.unwrap(), expected);
    let options = asked(&all, &[("language", text("de")), ("task", text("translate"))]).unwrap();
    assert_eq!((options.language, options.task), (Some(34), Task::Translate));
    for (codec, params, at) in [
        (&english, vec![("task", text("translate"))], "/parameters/task"),
        (&english, vec![("language", text("de"))], "/parameters/language"),
        (&all, vec![("language", text("xx"))], "/parameters/language"),
        (&all, vec![("timestamps", text("word"))], "/parameters/timestamps"),
        (&all, vec![("temperature", text("1.5"))], "/parameters/temperature"),
        (&all, vec![("beam_size", text("0"))], "/parameters/beam_size"),
        (
            &all,
            vec![("beam_size", text("2")), ("temperature", text("0.5"))],
            "/parameters/beam_size",
        ),
        (&all, vec![("top_k", text("2"))], "/parameters/top_k"),
    ] {
        assert_eq!(asked(codec, &params).unwrap_err().faults[0].pointer, at);
    }
}

#[test]
fn an_answer_has_the_text_and_the_segments_where_they_were_asked_for() {
    let codec = codec(true);
    let transcript = Transcript {
        segments: vec![
            recording::Segment { start: 0, end: 400, tokens: vec![0, 1] },
            recording::Segment { start: 420, end: 800, tokens: vec![0, 2] },
        ],
        language: Some(34),
    };
    let answer = |params: &Params| {
        let tensor = crate::domain::Tensor::new(vec![900], sound(900, 1)).unwrap();
        let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
        let (_, ask) = codec.decode(payload, params).unwrap();
        let outcomes = codec.encode(vec![transcript.clone()], &ask).unwrap();
        assert!(codec.encode(vec![], &ask).is_err());
        serde_json::to_string(&outcomes[0]).unwrap()
    };
    let plain = r#"{"text":"ab ac","words":[],"language":"de","duration":0.9}"#;
    assert_eq!(answer(&Params::default()), plain);
    let mut params = Params::default();
    params.insert("timestamps", ParamValue::Text("segment".into()), String::new());
    let segments = r#"[{"start":0.0,"end":0.4,"text":"ab"},{"start":0.42,"end":0.8,"text":"ac"}]"#;
    assert!(answer(&params).contains(&format!(r#""segments":{segments}"#)));
}

#[test]
fn long_sound_is_cut_where_it_is_quiet_and_joined_with_its_times() {
    let codec = codec(false);
    let mut samples = sound(5000, 1);
    samples[2000..2400].fill(0.0);
    let tensor = crate::domain::Tensor::new(vec![5000], samples).unwrap();
    let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
    let mut params = Params::default();
    params.insert("timestamps", ParamValue::Text("segment".into()), String::new());
    let (recordings, ask) = codec.decode(payload, &params).unwrap();
    let lengths: Vec<usize> = recordings.iter().map(|part| part.samples.len()).collect();
    assert!(lengths.len() == 2 && (2000..2400).contains(&lengths[0]), "{lengths:?}");
    let segment = || recording::Segment { start: 100, end: 600, tokens: vec![0] };
    let made = Transcript { segments: vec![segment()], language: None };
    let outcomes = codec.encode(vec![made.clone(), made], &ask).unwrap();
    let answer = serde_json::to_value(&outcomes[0]).unwrap();
    assert_eq!((&answer["text"], &answer["duration"]), (&"a a".into(), &5.0.into()));
    let start = answer["segments"][1]["start"].as_f64().unwrap();
    assert!((start - (lengths[0] + 100) as f64 / 1000.0).abs() < 1e-6, "{start}");
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_its_key() {
    for (edit, key) in [
        (
            Box::new(|c: &mut Config| c.decoder_heads = 3) as Box<dyn Fn(&mut Config)>,
            "decoder_heads",
        ),
        (Box::new(|c: &mut Config| c.audio_positions = 0), "audio_positions"),
        (Box::new(|c: &mut Config| c.hidden = 0), "hidden"),
    ] {
        let mut config = config();
        edit(&mut config);
        assert!(config.check().unwrap_err().to_string().contains(key));
    }
    let mut bad = preprocessing();
    bad.mel.mels = 7;
    assert!(bad.check(&config()).unwrap_err().to_string().contains("mels"));
    for (edit, key) in [
        (Box::new(|t: &mut Tokens| t.start = 37) as Box<dyn Fn(&mut Tokens)>, "start"),
        (Box::new(|t: &mut Tokens| t.suppress.push(99)), "suppress"),
        (Box::new(|t: &mut Tokens| t.no_timestamps = 20), "no_timestamps"),
    ] {
        let mut bad = preprocessing();
        edit(&mut bad.tokens);
        assert!(bad.check(&config()).unwrap_err().to_string().contains(key));
    }
}
