//! One tiny network, published in both ways, becomes one package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::arch::Source;
use crate::arch::golden;
use crate::arch::transformer::whisper::config::{Head, Kind};
use crate::arch::transformer::whisper::vocabulary::tests::TOKENIZER;
use crate::checkpoint::{Dtype, read, to_safetensors};
use crate::compute::Trainable;
use crate::package::Package;

fn config() -> Config {
    Config {
        kind: Kind::Whisper,
        mels: 8,
        width: 8,
        encoder_layers: 1,
        encoder_heads: 2,
        decoder_layers: 2,
        decoder_heads: 4,
        hidden: 12,
        audio_positions: 20,
        text_positions: 30,
        vocabulary: 36,
        alignment_heads: Some(vec![Head(0, 2), Head(0, 3)]),
    }
}

/// Fresh weights by our names.
fn tensors() -> BTreeMap<String, Tensor> {
    let mut all = unsure();
    // So loud that the network is sure of what it hears: its text comes at temperature 0.
    let loud: Vec<u8> = [40.0_f32; 8].iter().flat_map(|value| value.to_le_bytes()).collect();
    let loud = Tensor::new(Dtype::F32, vec![8], loud.into()).unwrap();
    all.insert("decoder.layer_norm.weight".to_owned(), loud);
    all
}

/// As they are made: every token is nearly as likely as another.
fn unsure() -> BTreeMap<String, Tensor> {
    let mut fresh = Trainable::new(3, &Device::Cpu);
    Weights::new(&mut fresh, &config()).unwrap();
    let bytes = Bytes::from(fresh.to_safetensors().unwrap());
    let made = read("fresh", &bytes).unwrap();
    made.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

fn tokenizer(languages: &[(&str, TokenId)]) -> Vec<u8> {
    let special = [
        ("<|endoftext|>", 8),
        ("<|startoftranscript|>", 9),
        ("<|nocaptions|>", 10),
        ("<|notimestamps|>", 11),
    ];
    let token = |&(content, id): &(&str, TokenId)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    let mut all: Value = serde_json::from_str(TOKENIZER).unwrap();
    all["added_tokens"] = special.iter().chain(languages).map(token).collect();
    all.to_string().into_bytes()
}

fn put(directory: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(directory.join(name), bytes).unwrap();
}

/// As Hugging Face does.
fn published(directory: &Path, edit: impl FnOnce(&mut Value)) {
    published_with(directory, tensors(), edit);
}

fn published_with(
    directory: &Path,
    tensors: BTreeMap<String, Tensor>,
    edit: impl FnOnce(&mut Value),
) {
    let mut named: BTreeMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| (format!("model.{name}"), tensor)).collect();
    let head = named["model.decoder.embed_tokens.weight"].clone();
    named.insert("proj_out.weight".to_owned(), head);
    put(directory, "model.safetensors", to_safetensors(&named).unwrap());
    put(directory, "tokenizer.json", tokenizer(&[]));
    let mut said = json!({
        "model_type": "whisper", "num_mel_bins": 8, "d_model": 8, "encoder_layers": 1,
        "encoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_layers": 2,
        "decoder_attention_heads": 4, "decoder_ffn_dim": 12, "max_source_positions": 20,
        "max_target_positions": 30, "vocab_size": 36, "suppress_tokens": [1],
    });
    edit(&mut said);
    put(directory, "config.json", said.to_string());
    let said = json!({
        "suppress_tokens": [3], "begin_suppress_tokens": [8], "alignment_heads": [[0, 2], [0, 3]]
    });
    put(directory, "generation_config.json", said.to_string());
}

/// Variables of a model.bin.
#[derive(Default)]
struct Variables {
    count: u32,
    bytes: Vec<u8>,
}

impl Variables {
    fn text(&mut self, text: &str) {
        self.bytes.extend(u16::try_from(text.len() + 1).unwrap().to_le_bytes());
        self.bytes.extend(text.bytes().chain([0]));
    }

    fn add(&mut self, name: &str, shape: &[usize], dtype: u8, data: &[u8]) {
        self.count += 1;
        self.text(name);
        self.bytes.push(u8::try_from(shape.len()).unwrap());
        for &size in shape {
            self.bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
        }
        self.bytes.push(dtype);
        self.bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.bytes.extend(data);
    }

    /// Tensors of F32, one after the other; `None` is a bias of zeros.
    fn fuse(&mut self, name: &str, parts: &[Option<&Tensor>]) {
        let zeros = Tensor::new(Dtype::F32, vec![8], vec![0; 32].into()).unwrap();
        let parts: Vec<&Tensor> = parts.iter().map(|part| part.unwrap_or(&zeros)).collect();
        let mut shape = parts[0].shape().to_vec();
        shape[0] *= parts.len();
        let data: Vec<u8> = parts.iter().flat_map(|part| part.data().iter().copied()).collect();
        self.add(name, &shape, 0, &data);
    }

    fn file(mut self) -> Vec<u8> {
        let variables = std::mem::take(&mut self.bytes);
        self.bytes.extend(6_u32.to_le_bytes());
        self.text("WhisperSpec");
        self.bytes.extend(3_u32.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(variables);
        self.bytes.extend(1_u32.to_le_bytes());
        self.text("decoder/projection/weight");
        self.text("decoder/embeddings/weight");
        self.bytes
    }
}

/// As `CTranslate2` does; `key_bias` stands where keys have no bias.
fn converted(directory: &Path, key_bias: f32, activation: u8) {
    let all = tensors();
    let get = |name: String| all.get(&name);
    let mut made = Variables::default();
    let linear = |made: &mut Variables, theirs: String, ours: &str, parts: &[&str]| {
        for suffix in ["weight", "bias"] {
            let name = |part: &&str| get(format!("{ours}{part}.{suffix}"));
            made.fuse(&format!("{theirs}/{suffix}"), &parts.iter().map(name).collect::<Vec<_>>());
        }
    };
    let norm = |made: &mut Variables, theirs: String, ours: String| {
        made.fuse(&format!("{theirs}/gamma"), &[get(format!("{ours}.weight"))]);
        made.fuse(&format!("{theirs}/beta"), &[get(format!("{ours}.bias"))]);
    };
    for (side, layers) in [("encoder", 1), ("decoder", 2)] {
        let positions = get(format!("{side}.embed_positions.weight"));
        made.fuse(&format!("{side}/position_encodings/encodings"), &[positions]);
        norm(&mut made, format!("{side}/layer_norm"), format!("{side}.layer_norm"));
        for i in 0..layers {
            let (theirs, ours) = (format!("{side}/layer_{i}"), format!("{side}.layers.{i}"));
            let own = format!("{theirs}/self_attention");
            let from = format!("{ours}.self_attn.");
            linear(&mut made, format!("{own}/linear_0"), &from, &["q_proj", "k_proj", "v_proj"]);
            linear(&mut made, format!("{own}/linear_1"), &from, &["out_proj"]);
            norm(&mut made, format!("{own}/layer_norm"), format!("{ours}.self_attn_layer_norm"));
            if side == "decoder" {
                let cross = format!("{theirs}/attention");
                let from = format!("{ours}.encoder_attn.");
                linear(&mut made, format!("{cross}/linear_0"), &from, &["q_proj"]);
                linear(&mut made, format!("{cross}/linear_1"), &from, &["k_proj", "v_proj"]);
                linear(&mut made, format!("{cross}/linear_2"), &from, &["out_proj"]);
                let ours = format!("{ours}.encoder_attn_layer_norm");
                norm(&mut made, format!("{cross}/layer_norm"), ours);
            }
            linear(&mut made, format!("{theirs}/ffn/linear_0"), &format!("{ours}."), &["fc1"]);
            linear(&mut made, format!("{theirs}/ffn/linear_1"), &format!("{ours}."), &["fc2"]);
            norm(&mut made, format!("{theirs}/ffn/layer_norm"), format!("{ours}.final_layer_norm"));
        }
    }
    made.fuse("decoder/embeddings/weight", &[get("decoder.embed_tokens.weight".to_owned())]);
    for name in ["conv1", "conv2"] {
        linear(&mut made, format!("encoder/{name}"), "encoder.", &[name]);
    }
    made.add("encoder/num_heads", &[], 2, &[2, 0]);
    made.add("decoder/num_heads", &[], 2, &[4, 0]);
    made.add("decoder/activation", &[], 1, &[activation]);
    made.add("decoder/pre_norm", &[], 1, &[1]);
    let mut file = made.file();
    if key_bias != 0.0 {
        // The first run of eight zeros after the first fused bias's eight values of the queries.
        let name = b"encoder/layer_0/self_attention/linear_0/bias\0";
        let at = file.windows(name.len()).position(|window| window == name).unwrap();
        let data = at + name.len() + 1 + 4 + 1 + 4;
        file[data + 32..data + 36].copy_from_slice(&key_bias.to_le_bytes());
    }
    put(directory, "model.bin", file);
    put(directory, "tokenizer.json", tokenizer(&[]));
    let said = json!({
        "suppress_ids": [3, 9, 10], "suppress_ids_begin": [8], "lang_ids": [1],
        "alignment_heads": [[0, 2], [0, 3]]
    });
    put(directory, "config.json", said.to_string());
}

/// 16-bit mono WAV of a tone of 0.3 s at 16 kHz.
fn tone() -> Vec<u8> {
    let samples = (0..4800_u16).map(|i| ((f32::from(i) * 0.2).sin() * 9000.0) as i16);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 9600_u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
    file.extend(9600_u32.to_le_bytes());
    file.extend(samples.flat_map(i16::to_le_bytes));
    file
}

fn imported(source: &Path, out: &Path) -> Result<Package, ImportError> {
    imported_by(source, out, |_| {})
}

fn imported_by(
    source: &Path,
    out: &Path,
    edit: impl FnOnce(&mut ImportJob),
) -> Result<Package, ImportError> {
    let recipe = r#"
        name = "tones"
        version = 1
        task = "speech-recognition"
        description = "Tones"
        author = "a test"
        licence = "MIT"
        source = "a test"
        architecture = { name = "transformer", config = { kind = "whisper" } }
    "#;
    put(out, "tone.wav", tone());
    let mut job = ImportJob {
        recipe: toml::from_str(recipe).unwrap(),
        recipe_text: recipe.to_owned(),
        command: "maas import".to_owned(),
        source_revision: "test".to_owned(),
        source: Source::new(source),
        labels: None,
        samples: vec![out.join("tone.wav")],
        out: out.to_owned(),
    };
    edit(&mut job);
    let report = import(&mut job)?;
    Ok(Package::open(&report.place).unwrap())
}

#[test]
fn one_network_published_in_two_ways_becomes_one_package() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [out, again] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    published(first.path(), |_| {});
    converted(second.path(), 0.0, 3);
    let package = imported(first.path(), out.path()).unwrap();
    let same = imported(second.path(), again.path()).unwrap();
    assert_eq!(package.manifest.files, same.manifest.files);
    assert_eq!(package.manifest.architecture, same.manifest.architecture);
    assert_eq!(package.manifest.preprocessing, same.manifest.preprocessing);

    let (graph, preprocessing) = load(&package, &Device::Cpu).unwrap();
    assert_eq!(graph.config, config());
    let tokens = &preprocessing.tokens;
    assert_eq!((tokens.end, tokens.start, tokens.no_speech, tokens.no_timestamps), (8, 9, 10, 11));
    assert_eq!((&tokens.suppress[..], &tokens.suppress_first[..]), (&[3, 9, 10][..], &[8][..]));
    let sample = golden::samples(&package).unwrap().remove(0);
    assert!(sample.expected["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()));
    // The graph answers as the plan did.
    let (network, codec) = parts(&package, config(), &preprocessing, graph).unwrap();
    let answer = golden_answer(&network, &codec, tone().into()).unwrap();
    golden::compare(&sample, &answer).unwrap();
    let mut wrong = answer;
    wrong["encoder"]["first"][2] = json!(9.0);
    assert!(golden::compare(&sample, &wrong).is_err());
}

#[test]
fn what_is_no_such_whisper_is_refused_by_what_it_lacks() {
    let source = tempfile::tempdir().unwrap();
    let refused = || {
        let out = tempfile::tempdir().unwrap();
        imported(source.path(), out.path()).unwrap_err().to_string()
    };
    published_with(source.path(), unsure(), |_| {});
    let drawn = refused();
    assert!(drawn.contains("golden/tone.wav") && drawn.contains("drawn"), "{drawn}");
    published(source.path(), |_| {});
    let edited = |edit: fn(&mut ImportJob)| {
        let out = tempfile::tempdir().unwrap();
        imported_by(source.path(), out.path(), edit).unwrap_err().to_string()
    };
    let key = edited(|job| drop(job.recipe.architecture.config.insert("width".into(), 8.into())));
    assert!(key.contains("width"), "{key}");
    assert!(edited(|job| job.recipe.task = "text".into()).contains("expected speech-recognition"));
    published(source.path(), |said| said["encoder_layers"] = json!(2));
    assert!(refused().contains("encoder.layers.1"));
    published(source.path(), |said| said["decoder_layers"] = json!(1));
    assert!(refused().contains("does not have"));
    published(source.path(), |said| said["activation_function"] = json!("relu"));
    assert!(refused().contains("activation_function gelu"));
    published(source.path(), |said| said["decoder_ffn_dim"] = json!(13));
    assert!(refused().contains("decoder_ffn_dim 12"));
    published(source.path(), |_| {});
    put(source.path(), "tokenizer.json", TOKENIZER);
    assert!(refused().contains("<|endoftext|>") || refused().contains("<|startoftranscript|>"));
    fs::remove_file(source.path().join("model.safetensors")).unwrap();
    converted(source.path(), 0.5, 3);
    assert!(refused().contains("keys whose bias is 0"));
    converted(source.path(), 0.0, 0);
    assert!(refused().contains("decoder/activation 3"));
}

#[test]
fn a_larger_vocabulary_knows_languages_and_tasks() {
    let config = Config { vocabulary: 51_865, ..config() };
    let described = Described { config, suppress: vec![], suppress_first: vec![] };
    let special = [("<|en|>", 12), ("<|haw|>", 13), ("<|transcribe|>", 14), ("<|translate|>", 15)];
    let made = special::tokens(&described, &tokenizer(&special)).unwrap().multilingual.unwrap();
    assert_eq!((made.transcribe, made.translate), (14, 15));
    assert_eq!(made.languages, [("en".to_owned(), 12), ("haw".to_owned(), 13)].into());
    assert!(special::tokens(&described, &tokenizer(&special[..2])).is_err());
}
