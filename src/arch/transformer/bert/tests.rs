//! From a published directory to a package that serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::*;
use crate::arch::{ImportError, ImportJob, ImportReport, Source};
use crate::compute::Trainable;
use crate::compute::kernels::best;
use crate::domain::{Item, Outcome, Params, Payload, Priority};
use crate::engine::{Codec, Engine, Limits, Reply, Request};

const RECIPE: &str = r#"
    name = "tiny"
    version = 1
    task = "text-embedding"
    description = "Two layers"
    author = "a test"
    licence = "MIT"
    source = "made here"
    architecture = { name = "transformer", config = { kind = "bert" } }
"#;

/// The weights of a network with a head on top, as Hugging Face calls them.
fn weights(config: &Config) -> Vec<u8> {
    let mut fresh = Trainable::new(4, &Device::Cpu);
    Encoder::new(&mut fresh, config, &Device::Cpu).unwrap();
    let bytes = fresh.to_safetensors().unwrap();
    let made = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> =
        made.tensors().into_iter().map(|(name, view)| (format!("bert.{name}"), view)).collect();
    let zeros = [0; 16 * 8];
    for (name, dtype, shape) in [
        ("bert.embeddings.position_ids", Dtype::I64, vec![1, 16]),
        ("bert.pooler.dense.bias", Dtype::F32, vec![32]),
        ("cls.predictions.bias", Dtype::F32, vec![32]),
    ] {
        tensors.push((name.to_owned(), TensorView::new(dtype, shape, &zeros).unwrap()));
    }
    safetensors::serialize(tensors, None).unwrap()
}

/// A directory as sentence-transformers writes it.
fn publish(folder: &Path) {
    let config = Config::tiny();
    let write = |name: &str, value: Value| fs::write(folder.join(name), value.to_string()).unwrap();
    let sizes = json!({
        "model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu",
        "vocab_size": config.vocabulary, "hidden_size": config.width,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "intermediate_size": config.hidden, "max_position_embeddings": config.positions_max,
        "type_vocab_size": config.token_types, "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
    });
    write("config.json", sizes);
    let module = |class: &str, path: &str| {
        json!({"idx": 0, "name": "0", "path": path,
        "type": format!("sentence_transformers.models.{class}")})
    };
    write(
        "modules.json",
        json!([
            module("Transformer", ""),
            module("Pooling", "1_Pooling"),
            module("Normalize", "2_Normalize")
        ]),
    );
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    write("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true}));
    fs::write(folder.join(TOKENIZER_FILE), tokens::TINY).unwrap();
    fs::write(folder.join("model.safetensors"), weights(&config)).unwrap();
    fs::write(folder.join("food.txt"), "A man is eating food").unwrap();
}

/// Imports `folder` by `recipe`, with one sample.
fn imported(folder: &Path, recipe: &str) -> Result<ImportReport, ImportError> {
    let samples: Vec<PathBuf> = vec![folder.join("food.txt")];
    import(&mut ImportJob {
        recipe: toml::from_str(recipe).unwrap(),
        recipe_text: recipe.to_owned(),
        command: "maas import".to_owned(),
        source_revision: "test".to_owned(),
        source: Source::new(folder),
        labels: None,
        samples,
        out: folder.join("store"),
    })
}

/// Opens a package as a server does.
fn opened(package: &Package, engine: &Engine) -> Result<Box<dyn Endpoint>, OpenError> {
    let context = OpenContext {
        intra_op_threads: 1,
        device: &Device::Cpu,
        level: best(),
        engine,
        limits: Limits::default(),
        media: MediaLimits::default(),
    };
    open(package, &context)
}

#[tokio::test]
async fn a_published_directory_becomes_a_package_that_answers_with_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path());
    let report = imported(folder.path(), RECIPE).unwrap();
    let package = Package::open(&report.place).unwrap();
    let config = Config::read(&package.manifest.architecture.config).unwrap();
    assert_eq!(config, Config::tiny());
    let sources = &package.manifest.import.as_ref().unwrap().sources;
    let names: Vec<&str> = sources.keys().map(String::as_str).collect();
    let expected = [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "modules.json",
        TOKENIZER_FILE,
    ];
    assert_eq!(names, expected);

    let engine = Engine::start(1).unwrap();
    let endpoint = opened(&package, &engine).unwrap();
    let payload = Payload {
        items: ["a man", "food"].map(|text| Item::Text(text.to_owned())).to_vec(),
        pointers: vec!["/0".to_owned(), "/1".to_owned()],
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    let request =
        Request { payload, params: Params::default(), deadline, priority: Priority::default() };
    let Reply::Whole(answer) = endpoint.predict(request).await.unwrap() else { panic!("a stream") };
    let [Outcome::Embedding { embedding, tokens: 4 }, Outcome::Embedding { tokens: 3, .. }] =
        answer.outcomes.as_slice()
    else {
        panic!("{:?}", answer.outcomes)
    };
    let length: f32 = embedding.iter().map(|value| value * value).sum();
    assert!(embedding.len() == config.width && (length - 1.0).abs() < 1e-5);
}

#[test]
fn a_package_that_answers_otherwise_or_is_for_something_else_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path());
    let report = imported(folder.path(), RECIPE).unwrap();
    let package = || Package::open(&report.place).unwrap().into_draft();
    let engine = Engine::start(1).unwrap();
    let refused = |draft| {
        let Err(error) = opened(&Package::from_draft(draft).unwrap(), &engine) else {
            panic!("it was opened")
        };
        error.to_string()
    };
    let mut changed = package();
    let list = changed.files.get_mut(golden::GOLDEN_FILE).unwrap();
    let mut samples: Value = serde_json::from_slice(list).unwrap();
    samples[0]["expected"]["embedding"][5] = json!(2.0);
    *list = samples.to_string().into_bytes();
    assert!(refused(changed).contains("/embedding/5"));
    let mut other = package();
    other.manifest.task = "text-generation".to_owned();
    assert!(refused(other).contains("expected text-embedding"));
    let mut wider = package();
    wider.manifest.outputs[0].shape = vec![25];
    assert!(refused(wider).contains("outputs"));
}

#[test]
fn a_text_has_no_more_tokens_than_the_directory_says() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path());
    let said = json!({"max_seq_length": 7, "do_lower_case": false}).to_string();
    fs::write(folder.path().join("sentence_bert_config.json"), said).unwrap();
    let report = imported(folder.path(), RECIPE).unwrap();
    let package = Package::open(&report.place).unwrap();
    let config = Config::read(&package.manifest.architecture.config).unwrap();
    assert_eq!(config, Config { tokens_max: Some(7), ..Config::tiny() });
    let (_, codec) = load(&package, &Device::Cpu, best()).unwrap();
    let tokens = |text: &str| {
        let payload = Payload::single(Item::Text(text.to_owned()), "/body");
        codec.decode(payload, &Params::default()).map(|(samples, _)| samples[0].len())
    };
    assert_eq!(tokens("a man is eating food").unwrap(), 7);
    assert!(tokens("a man is eating food food").is_err());
}

#[test]
fn the_recipe_may_say_how_tokens_become_one() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path());
    let said = "kind = \"bert\", pooling = \"cls\", normalise = false";
    let recipe = RECIPE.replace("kind = \"bert\"", said);
    fs::remove_file(folder.path().join("modules.json")).unwrap();
    let report = imported(folder.path(), &recipe).unwrap();
    let package = Package::open(&report.place).unwrap();
    let config = Config::read(&package.manifest.architecture.config).unwrap();
    assert_eq!((config.pooling, config.normalise), (config::Pooling::Cls, false));
    let error = imported(folder.path(), RECIPE).unwrap_err().to_string();
    assert!(error.contains("no modules.json"), "{error}");
}

#[test]
fn what_the_network_is_not_is_refused_by_name() {
    let refused = |file: &str, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        publish(folder.path());
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let error = imported(folder.path(), RECIPE).unwrap_err().to_string();
        assert!(!folder.path().join("store").exists());
        error
    };
    for (file, from, to, told) in [
        ("config.json", "\"bert\"", "\"roberta\"", "roberta"),
        ("config.json", "\"absolute\"", "\"relative_key\"", "relative_key"),
        ("config.json", "\"gelu\"", "\"gelu_new\"", "gelu_new"),
        ("config.json", "\"hidden_size\":24", "\"hidden_size\":22", "shape"),
        ("config.json", "\"num_attention_heads\":2", "\"num_attention_heads\":5", "heads"),
        ("config.json", "\"num_hidden_layers\":2", "\"num_hidden_layers\":1", "encoder.layer.1"),
        ("modules.json", "models.Normalize", "models.Dense", "Dense"),
        ("modules.json", "1_Pooling", "../1_Pooling", "path"),
        ("1_Pooling/config.json", "mode_mean", "mode_max", "max_tokens"),
    ] {
        let error = refused(file, from, to);
        assert!(error.contains(told), "{file}, {to}: {error}");
    }
}
