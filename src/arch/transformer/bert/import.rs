//! A package from the directory that an encoder was published as by Hugging Face.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::arch::golden;
use crate::arch::transformer::bert::config::{Config, Kind, Pooling};
use crate::arch::transformer::bert::net::Encoder;
use crate::arch::transformer::bert::tokens::TOKENIZER_FILE;
use crate::arch::transformer::bert::{load, signature};
use crate::arch::{Files, ImportError, ImportJob, ImportReport, OpenError, Source, Taker, section};
use crate::compute::Device;
use crate::compute::kernels;
use crate::compute::layers::Activation;
use crate::domain::{Item, Payload};
use crate::package::WEIGHTS_FILE;

/// What the recipe may say; the directory says the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(rename = "kind")]
    _kind: Kind,
    pooling: Option<Pooling>,
    normalise: Option<bool>,
}

/// What is read of a `config.json`. A model of another type is refused by its name.
#[derive(Debug, Deserialize)]
#[serde(tag = "model_type", rename_all = "kebab-case")]
enum Published {
    Bert(Sizes),
}

#[derive(Debug, Deserialize)]
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: Activation,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    #[serde(default, rename = "position_embedding_type")]
    _positions: Positions,
}

/// The only way of telling positions that the network knows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Positions {
    #[default]
    Absolute,
}

/// One step of a `modules.json`, which sentence-transformers writes.
#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    class: String,
    path: String,
}

/// What begins the keys of a pooling step's `config.json` that say what is pooled.
const POOLING_KEYS: &str = "pooling_mode_";

const MODULES_FILE: &str = "modules.json";

/// What is wanted of a `sentence_bert_config.json`, which sentence-transformers writes.
#[derive(Debug, Deserialize)]
struct Limit {
    #[serde(default)]
    max_seq_length: Option<usize>,
}

const LIMIT_FILE: &str = "sentence_bert_config.json";

/// Packs what a published directory holds.
///
/// # Errors
/// [`ImportError`] when a file is missing or is of another kind of network.
pub fn import(job: &mut ImportJob) -> Result<ImportReport, ImportError> {
    let samples = job.samples()?;
    let config = config(job)?;
    let tokenizer = job.source.file(TOKENIZER_FILE)?;

    let checkpoint = job.source.checkpoint()?;
    // A network with a head on top calls the encoder in it so.
    let nested = checkpoint.get("bert.embeddings.word_embeddings.weight").is_some();
    let name = |ours: &str| if nested { format!("bert.{ours}") } else { ours.to_owned() };
    let mut taker = Taker::new(checkpoint, &name);
    Encoder::new(&mut taker, &config, &Device::Cpu)?;
    let weights = taker.finish(|name, _| is_of_no_use(name))?;

    let table = toml::Table::try_from(&config)
        .map_err(|error| refuse("architecture.config", error.to_string()))?;
    job.recipe.architecture.config = table;
    let files = Files::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (TOKENIZER_FILE.to_owned(), tokenizer.to_vec()),
    ]);
    let package = job.package(signature(&config), files)?;
    let (network, codec) = load(&package, &Device::Cpu, kernels::best())?;
    job.write(package, "text", samples, |bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        golden::answer(&network, &codec, Payload::single(Item::Text(text), "/body"))
    })
}

/// Heads that embeddings do not pass through, and a list of the positions from 0 on.
fn is_of_no_use(name: &str) -> bool {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    name == "embeddings.position_ids" || name.starts_with("pooler.") || name.starts_with("cls.")
}

fn config(job: &mut ImportJob) -> Result<Config, ImportError> {
    let said: Said = section("architecture.config", &job.recipe.architecture.config)?;
    let Published::Bert(sizes) = job.source.json("config.json")?;
    let (pooling, normalise) = match (said.pooling, said.normalise) {
        (Some(pooling), Some(normalise)) => (pooling, normalise),
        (pooling, normalise) => {
            let published = published_steps(&mut job.source)?;
            (pooling.unwrap_or(published.0), normalise.unwrap_or(published.1))
        }
    };
    let limit = published_limit(&mut job.source)?;
    let config = Config {
        kind: Kind::Bert,
        vocabulary: sizes.vocab_size,
        width: sizes.hidden_size,
        layers: sizes.num_hidden_layers,
        heads: sizes.num_attention_heads,
        hidden: sizes.intermediate_size,
        positions_max: sizes.max_position_embeddings,
        tokens_max: limit.filter(|&limit| limit < sizes.max_position_embeddings),
        token_types: sizes.type_vocab_size,
        layer_norm_eps: sizes.layer_norm_eps,
        activation: sizes.hidden_act,
        pooling,
        normalise,
    };
    config.check()?;
    Ok(config)
}

/// How many tokens of a text sentence-transformers reads: the network was trained with no more.
fn published_limit(source: &mut Source) -> Result<Option<usize>, ImportError> {
    if !source.has(LIMIT_FILE) {
        return Ok(None);
    }
    Ok(source.json::<Limit>(LIMIT_FILE)?.max_seq_length)
}

/// Pooling and normalisation as the directory's `modules.json` lists them.
fn published_steps(source: &mut Source) -> Result<(Pooling, bool), ImportError> {
    if !source.has(MODULES_FILE) {
        let reason = "pooling and normalise are not said, and there is no modules.json that does";
        return Err(refuse("architecture.config", reason.to_owned()).into());
    }
    let modules: Vec<Module> = source.json(MODULES_FILE)?;
    let (mut pooling, mut normalise) = (None, false);
    for Module { class, path } in modules {
        match class.rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Pooling" => pooling = Some(published_pooling(source, &path)?),
            "Normalize" => normalise = true,
            other => {
                let reason = format!("expected Transformer, Pooling and Normalize, got {other}");
                return Err(refuse(MODULES_FILE, reason).into());
            }
        }
    }
    let pooling = pooling.ok_or_else(|| refuse(MODULES_FILE, "it has no Pooling".to_owned()))?;
    Ok((pooling, normalise))
}

fn published_pooling(source: &mut Source, folder: &str) -> Result<Pooling, ImportError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if folder.is_empty() || !folder.chars().all(plain) {
        let reason = format!("path: expected a folder in the directory, got {folder:?}");
        return Err(refuse(MODULES_FILE, reason).into());
    }
    let said: BTreeMap<String, Value> = source.json(&format!("{folder}/config.json"))?;
    let modes: Vec<&str> = said
        .iter()
        .filter(|&(_, value)| *value == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix(POOLING_KEYS))
        .collect();
    match modes.as_slice() {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::Cls),
        _ => {
            let reason = format!("expected mean_tokens or cls_token alone, got {modes:?}");
            Err(refuse("the pooling's config.json", reason).into())
        }
    }
}

fn refuse(section: &'static str, reason: String) -> OpenError {
    OpenError::Config { section, reason }
}
