use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::Device;
use serde_json::Map;

use super::*;
use crate::arch::gru::config::Tokens;
use crate::arch::{EvalJob, OnBadSample, Recipe, TrainError, TrainJob, TrainReport};
use crate::compute::Trainable;
use crate::compute::kernels::{self, Level};
use crate::dataset::BadSamples;
use crate::dataset::text::{self, Paths, Shares};
use crate::domain::{Outcome, ParamValue, Params, Payload, Priority};
use crate::engine::{Engine, Language, Limits, Reply, Request, Row, Stepwise};

fn model(cell: &str, layers: usize) -> RecurrentModel {
    let table = format!("cell = \"{cell}\"\nhidden = 40\nembedding = 8\nlayers = {layers}");
    let config = Config::read(&toml::from_str(&table).unwrap()).unwrap();
    let mut fresh = Trainable::new(11, &Device::Cpu);
    RecurrentModel::new(&mut fresh, &config, 20).unwrap()
}

/// The same network for the kernels.
fn packed(model: &RecurrentModel) -> PackedModel {
    PackedModel::new(model, kernels::best()).unwrap()
}

fn step<N: Stepwise>(network: &N, states: &mut [N::State], tokens: &[&[TokenId]]) -> Vec<Vec<f32>> {
    let mut rows: Vec<Row<'_, N::State>> = states
        .iter_mut()
        .zip(tokens)
        .map(|(state, tokens)| Row { state, tokens, want_logits: true })
        .collect();
    // What is left in it is not added to.
    let mut logits = vec![0.5; 7];
    network.step(&mut rows, &mut logits).unwrap();
    assert_eq!(logits.len() % states.len(), 0);
    logits.chunks_exact(logits.len() / states.len()).map(<[f32]>::to_vec).collect()
}

/// Some tokens that depend on `seed`.
fn tokens(seed: u32, count: u32) -> Vec<TokenId> {
    (0..count).map(|i| (seed * 7 + i * i + i * 3) % 20).collect()
}

#[test]
fn a_prompt_in_chunks_equals_token_by_token() {
    fn check(network: &impl Generator, what: &str) {
        let prompt = tokens(1, 23);
        let read = |size: usize| {
            let mut states = [network.begin()];
            prompt.chunks(size).map(|chunk| step(network, &mut states, &[chunk])).last().unwrap()
        };
        assert_eq!(read(23), read(1), "{what}");
        assert_eq!(read(23), read(5), "{what}");
    }
    for (cell, layers) in [("gru", 1), ("gru", 2), ("lstm", 2)] {
        let model = model(cell, layers);
        check(&model.fold().unwrap(), cell);
        check(&packed(&model), cell);
    }
}

#[test]
fn the_kernels_agree_with_the_graph() {
    for (cell, layers) in [("gru", 1), ("gru", 3), ("lstm", 1), ("lstm", 2)] {
        let model = model(cell, layers);
        let graph = model.fold().unwrap();
        let prompts = [tokens(1, 23), tokens(2, 4), tokens(3, 11)];
        let prompts: Vec<&[TokenId]> = prompts.iter().map(Vec::as_slice).collect();
        let expected =
            step(&graph, &mut std::array::from_fn::<_, 3, _>(|_| graph.begin()), &prompts);
        for level in Level::ALL.into_iter().filter(|&level| kernels::is_available(level)) {
            let network = PackedModel::new(&model, level).unwrap();
            let mut states = std::array::from_fn::<_, 3, _>(|_| network.begin());
            let got = step(&network, &mut states, &prompts);
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() < 1e-5, "{cell} {level}: {got} for {expected}");
            }
        }
    }
}

/// The same seed must give the same text whoever else is being served, so this is bit for bit.
#[test]
fn a_row_reads_the_same_alone_and_among_others() {
    fn check<N: Generator>(network: &N, cell: &str) {
        let prompts: Vec<_> = (0..9).map(|row| tokens(row, 3 + row * 5 % 11)).collect();
        let prompts: Vec<&[TokenId]> = prompts.iter().map(Vec::as_slice).collect();
        let mut together: Vec<N::State> = (0..9).map(|_| network.begin()).collect();
        let first = step(network, &mut together, &prompts);
        let next: [&[TokenId]; 9] = [&[3]; 9];
        let second = step(network, &mut together, &next);
        for (row, prompt) in prompts.iter().enumerate() {
            let mut alone = [network.begin()];
            assert_eq!(step(network, &mut alone, &[prompt])[0], first[row], "{cell}, row {row}");
            assert_eq!(step(network, &mut alone, &[&[3]])[0], second[row], "{cell}, row {row}");
        }
    }
    for (cell, layers) in [("gru", 1), ("gru", 2), ("lstm", 1)] {
        let model = model(cell, layers);
        check(&model.fold().unwrap(), cell);
        check(&packed(&model), cell);
    }
}

#[test]
fn logits_come_only_where_they_are_wanted() {
    let network = packed(&model("gru", 1));
    let mut states = [network.begin(), network.begin(), network.begin()];
    let mut rows: Vec<Row<'_, Vec<f32>>> = states
        .iter_mut()
        .zip([false, true, false])
        .map(|(state, want_logits)| Row { state, tokens: &[4, 2], want_logits })
        .collect();
    let mut logits = Vec::new();
    network.step(&mut rows, &mut logits).unwrap();
    assert_eq!(logits, step(&network, &mut [network.begin()], &[&[4, 2]])[0]);
    assert_eq!(logits.len(), 20);
    network.step(&mut [], &mut logits).unwrap();
    assert!(logits.is_empty());
    let outside = Row { state: &mut network.begin(), tokens: &[20], want_logits: false };
    assert!(network.step(&mut [outside], &mut logits).is_err());
}

#[test]
fn what_is_measured_keeps_no_history() {
    let config = "cell = \"lstm\"\nhidden = 8\nembedding = 4\nlayers = 2";
    let config = Config::read(&toml::from_str(config).unwrap()).unwrap();
    let model = RecurrentModel::new(&mut Trainable::new(1, &Device::Cpu), &config, 20).unwrap();
    for (network, tracked) in [(model.fold(), true), (model.detach().fold(), false)] {
        let network = network.unwrap();
        let mut states = [network.begin()];
        step(&network, &mut states, &[&[1, 2]]);
        assert!(states[0].iter().all(|state| state.hidden.track_op() == tracked));
    }
}

const TEXT: &str = "the quick brown fox jumps over the lazy dog; ";

const RECIPE: &str = r#"
name = "fox"
version = 1
task = "text-generation"
description = "One sentence, by heart"
author = "a test"
licence = "MIT"
architecture = { name = "gru", config = { cell = "gru", hidden = 32, embedding = 16 } }
preprocessing = { tokens = "characters" }
data = { path = "nowhere.txt", held_out = 0.1 }

[fit]
epochs = 12
batch = 4
optimiser = { method = "adamw", learning_rate = 0.02, clip_norm = 1.0 }
schedule = { kind = "linear", last = 0.1 }
options = { sequence = 16 }
"#;

/// Learns the sentence, said 40 times over, and packs it into `dir`.
fn learn(dir: &Path, recipe: Recipe) -> (Result<TrainReport, TrainError>, Vec<f64>) {
    let text = dir.join("text.txt");
    std::fs::write(&text, TEXT.repeat(40)).unwrap();
    let mut losses = Vec::new();
    let mut job = TrainJob {
        recipe,
        recipe_text: RECIPE.to_owned(),
        command: "maas train".to_owned(),
        source_revision: "maas".to_owned(),
        data: Some(text),
        seed: 1,
        on_bad_sample: OnBadSample::Fail,
        out: dir.join("store"),
        parent: None,
        freeze: Vec::new(),
        resume: false,
        report: &mut |event| losses.extend(event.epoch().map(|epoch| epoch.train_loss)),
    };
    let report = train::train(&mut job, &Device::Cpu);
    (report, losses)
}

fn recipe(change: impl FnOnce(&mut Recipe)) -> Recipe {
    let mut recipe = toml::from_str(RECIPE).unwrap();
    change(&mut recipe);
    recipe
}

/// The likeliest continuation of `prompt`.
fn greedy(network: &impl Generator, language: &TextLanguage, prompt: &str, count: usize) -> String {
    let mut states = [network.begin()];
    let mut next = language.vocabulary().encode(prompt).unwrap();
    let mut text = Vec::new();
    for _ in 0..count {
        let logits = step(network, &mut states, &[&next]).remove(0);
        let best = (0_u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        text.push(best);
        next = vec![best];
    }
    language.text(&text)
}

#[test]
fn a_sentence_is_learned_packed_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (report, losses) = learn(dir.path(), recipe(|_| ()));
    let report = report.unwrap();
    assert_eq!(losses.len(), 12);
    assert!(report.metrics["bits_per_character"] < 0.3, "{:?}", report.metrics);

    let package = Package::open(&report.place).unwrap();
    let (model, language) = load(&package, &Device::Cpu, &MediaLimits::default()).unwrap();
    let network = packed(&model);
    check(&package, &network, &language).unwrap();
    assert_eq!(greedy(&network, &language, "the quick ", 15), "brown fox jumps");

    let curves = std::str::from_utf8(package.file("report/curves.svg").unwrap()).unwrap();
    assert!(curves.contains(">bits a character<"), "{curves}");
    let job = EvalJob { data: Some(dir.path().join("text.txt")), on_bad_sample: OnBadSample::Fail };
    let eval = train::evaluate(&package, &job, &Device::Cpu).unwrap();
    for (name, value) in &eval.metrics {
        // Packed from what the graph said, measured by the kernels.
        assert!((value - report.metrics[name]).abs() < 1e-4, "{name}: {value}");
    }
    assert_eq!(eval.data_digest, package.manifest.training.as_ref().unwrap().data_digest);
}

/// Opens a package as the server does and asks it to go on from each prompt.
fn generate(package: &mut Package, prompts: &[&str], seed: f64) -> Vec<Outcome> {
    let engine = Engine::start(1).unwrap();
    let context = OpenContext {
        intra_op_threads: 1,
        device: &Device::Cpu,
        level: crate::compute::kernels::best(),
        engine: &engine,
        limits: Limits::default(),
        media: MediaLimits::default(),
    };
    let endpoint = open(package, &context).unwrap();
    let mut params = Params::default();
    for (name, value) in [("seed", seed), ("max_tokens", 40.0), ("temperature", 0.7)] {
        assert!(params.insert(name, ParamValue::Number(value), String::new()));
    }
    let payload = Payload {
        items: prompts.iter().map(|prompt| Item::Text((*prompt).to_owned())).collect(),
        pointers: (0..prompts.len()).map(|i| format!("/inputs/{i}")).collect(),
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime
        .block_on(endpoint.predict(Request {
            payload,
            params,
            deadline,
            priority: Priority::default(),
        }))
        .unwrap();
    let Reply::Whole(answer) = reply else { panic!("expected a whole answer") };
    answer.outcomes
}

#[test]
fn the_shipped_model_opens_and_one_seed_gives_one_text() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/kjv/1");
    let mut package = Package::open(&place).unwrap();
    let alone = generate(&mut package, &["And it came to pass"], 3.0);
    let others = ["In the beginning", "And it came to pass", "A", "The LORD is my shepherd;"];
    let among = generate(&mut package, &others, 3.0);
    assert_eq!(alone[0], among[1]);
    let Outcome::Generated { text, .. } = &alone[0] else { panic!("{alone:?}") };
    assert_eq!(text.chars().count(), 40);
    assert_ne!(alone, generate(&mut package, &["And it came to pass"], 4.0));
}

#[test]
fn one_seed_gives_the_same_weights() {
    let weights = || {
        let dir = tempfile::tempdir().unwrap();
        let config =
            toml::toml! { cell = "lstm"  layers = 2  hidden = 12  embedding = 8  dropout = 0.2 };
        let short = recipe(|recipe| {
            recipe.fit.epochs = 1;
            recipe.architecture.config = config;
        });
        let report = learn(dir.path(), short).0.unwrap();
        std::fs::read(report.place.join(WEIGHTS_FILE)).unwrap()
    };
    assert_eq!(weights(), weights());
}

#[test]
fn a_tokenizer_takes_the_place_of_characters() {
    let dir = tempfile::tempdir().unwrap();
    let words: BTreeSet<&str> = TEXT.split_whitespace().collect();
    let vocab: Map<String, Value> = (0..).zip(words).map(|(id, w)| (w.into(), id.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    });
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let of_words = recipe(|recipe| {
        recipe.preprocessing = toml::toml! { tokens = "tokenizer"  end = "dog;" };
        recipe.data.insert("tokenizer".into(), path.to_str().unwrap().into());
        // Padded: there are eight words.
        recipe.architecture.config.insert("vocabulary".into(), 16.into());
        recipe.fit.epochs = 20;
    });
    let report = learn(dir.path(), of_words).0.unwrap();
    let package = Package::open(&report.place).unwrap();
    let (model, language) = load(&package, &Device::Cpu, &MediaLimits::default()).unwrap();
    let network = packed(&model);
    check(&package, &network, &language).unwrap();
    assert_eq!(language.end(), Some(1));
    assert_eq!(greedy(&network, &language, "the quick", 3), "brown fox jumps");
    // Bits are of a character, so they stay far below those of a token.
    let (bits, nats) = (report.metrics["bits_per_character"], report.metrics["perplexity"].ln());
    assert!(bits < nats / std::f64::consts::LN_2 / 4.0, "{:?}", report.metrics);
}

#[test]
fn no_epochs_pack_fresh_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (report, losses) = learn(dir.path(), recipe(|recipe| recipe.fit.epochs = 0));
    let report = report.unwrap();
    assert!(losses.is_empty());
    assert!(report.metrics["bits_per_character"] > 4.0, "{:?}", report.metrics);
    let package = Package::open(&report.place).unwrap();
    let (model, language) = load(&package, &Device::Cpu, &MediaLimits::default()).unwrap();
    let network = packed(&model);
    check(&package, &network, &language).unwrap();
}

#[test]
fn a_golden_line_that_scores_otherwise_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let report = learn(dir.path(), recipe(|recipe| recipe.fit.epochs = 0)).0.unwrap();
    let package = Package::open(&report.place).unwrap();
    let (_, language) = load(&package, &Device::Cpu, &MediaLimits::default()).unwrap();
    let config = Config::read(&package.manifest.architecture.config).unwrap();
    let mut others = Trainable::new(99, &Device::Cpu);
    let rows = config.rows(language.vocabulary().size()).unwrap();
    let other = RecurrentModel::new(&mut others, &config, rows).unwrap().fold().unwrap();
    let error = check(&package, &other, &language).unwrap_err().to_string();
    assert!(error.contains("bits_per_character: expected"), "{error}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let wild = recipe(|recipe| {
        recipe.fit.optimiser.learning_rate = 1e30;
        recipe.fit.optimiser.clip_norm = 0.0;
    });
    let error = learn(dir.path(), wild).0.unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(!dir.path().join("store/fox/1").exists());
}

#[test]
fn another_task_or_signature_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Before the text is read: there is none of this share.
    let wrong = recipe(|recipe| {
        recipe.task = "image-classification".to_owned();
        recipe.data.insert("held_out".to_owned(), 2.0.into());
    });
    let error = learn(dir.path(), wrong).0.unwrap_err().to_string();
    assert!(error.contains("task") && error.contains("expected text-generation"), "{error}");

    let report = learn(dir.path(), recipe(|recipe| recipe.fit.epochs = 0)).0.unwrap();
    let mut package = Package::open(&report.place).unwrap();
    let opens = |package: &Package| {
        let opened = load(package, &Device::Cpu, &MediaLimits::default());
        opened.map(drop).map_err(|error| error.to_string())
    };
    opens(&package).unwrap();
    package.manifest.outputs[0].datatype = crate::domain::Datatype::Fp32;
    assert!(opens(&package).unwrap_err().contains("outputs"));
    package.manifest.task = "speech-recognition".to_owned();
    assert!(opens(&package).unwrap_err().contains("expected text-generation"));
}

#[test]
fn a_recipe_that_does_not_fit_its_text_is_refused() {
    for (change, word) in [
        ((|r: &mut Recipe| r.fit.batch = 5000) as fn(&mut Recipe), "fit.batch = 5000"),
        (|r| r.fit.batch = 0, "fit.batch = 0"),
        (|r| drop(r.fit.options.insert("sequence".into(), 0.into())), "fit.options.sequence"),
        (|r| drop(r.data.insert("held_out".into(), 0.0001.into())), "held_out"),
        (|r| drop(r.data.insert("tokenizer".into(), "t.json".into())), "data.tokenizer"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = learn(dir.path(), recipe(change)).0.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_character_outside_the_vocabulary_is_named_by_its_place_or_its_line_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.txt");
    std::fs::write(&path, "abc\nab§c\ncab").unwrap();
    let shares = Shares { validation: 0.0, held_out: 0.0 };
    let text = text::read(&Paths::One(path), shares, &mut BadSamples::default()).unwrap();
    let vocabulary = Vocabulary::read(Tokens::Characters, br#"["a", "b", "c", "\n"]"#).unwrap();
    let error = plan::encode(&vocabulary, &text.train, &mut BadSamples::default()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("text.txt, line 2, column 3: the vocabulary lacks '§'"), "{error}");
    let mut bad = BadSamples::new(OnBadSample::Skip);
    let tokens = plan::encode(&vocabulary, &text.train, &mut bad).unwrap();
    let tokens = tokens.get(0..tokens.len()).unwrap();
    assert_eq!((vocabulary.decode(&tokens), bad.count()), ("abc\ncab".to_owned(), 1));
}

#[test]
fn a_golden_line_is_found_behind_the_tail_of_a_short_file() {
    let dir = tempfile::tempdir().unwrap();
    let line = "in the beginning was the word, and the word was short\n";
    std::fs::write(dir.path().join("a.txt"), "twenty bytes are few").unwrap();
    std::fs::write(dir.path().join("b.txt"), line.repeat(100)).unwrap();
    let shares = Shares { validation: 0.0, held_out: 0.05 };
    let paths = Paths::One(dir.path().to_owned());
    let text = text::read(&paths, shares, &mut BadSamples::default()).unwrap();
    assert_eq!(train::golden_line(&text.held_out).unwrap(), line.trim_end());
}
