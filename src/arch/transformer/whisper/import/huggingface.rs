//! A directory as Hugging Face publishes it: config.json, perhaps `generation_config.json`, and tensors
//! whose names begin with `model.`.

use serde::Deserialize;

use crate::arch::transformer::whisper::config::{Config, Head, Kind};
use crate::arch::transformer::whisper::import::{Described, refuse};
use crate::arch::{ImportError, Source};
use crate::checkpoint::Checkpoint;
use crate::engine::TokenId;

const CONFIG_FILE: &str = "config.json";
const GENERATION_FILE: &str = "generation_config.json";

/// What is wanted of config.json; it holds much else.
#[derive(Debug, Deserialize)]
struct Published {
    num_mel_bins: usize,
    d_model: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    encoder_ffn_dim: usize,
    decoder_layers: usize,
    decoder_attention_heads: usize,
    decoder_ffn_dim: usize,
    max_source_positions: usize,
    max_target_positions: usize,
    vocab_size: usize,
    #[serde(default = "gelu")]
    activation_function: String,
    #[serde(flatten)]
    generation: Generation,
}

fn gelu() -> String {
    "gelu".to_owned()
}

/// What is never said, and which heads tell when a word was; in `generation_config.json`, where there is one.
#[derive(Debug, Default, Deserialize)]
struct Generation {
    #[serde(default)]
    suppress_tokens: Option<Vec<TokenId>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<TokenId>>,
    #[serde(default)]
    alignment_heads: Option<Vec<Head>>,
}

/// # Errors
/// [`ImportError`] when the files do not say what is needed, or something else than a Whisper.
pub fn describe(
    source: &mut Source,
    checkpoint: &mut Checkpoint,
) -> Result<Described, ImportError> {
    let published: Published = source.json(CONFIG_FILE)?;
    if published.activation_function != "gelu" {
        let got = published.activation_function;
        return Err(refuse(CONFIG_FILE, "activation_function gelu", got));
    }
    if published.decoder_ffn_dim != published.encoder_ffn_dim {
        let expected = format!("decoder_ffn_dim {}, the encoder's", published.encoder_ffn_dim);
        return Err(refuse(CONFIG_FILE, expected, published.decoder_ffn_dim.to_string()));
    }
    let said: Generation = if source.has(GENERATION_FILE) {
        source.json(GENERATION_FILE)?
    } else {
        Generation::default()
    };
    rename(checkpoint);
    let config = published.generation;
    let list = |first: Option<Vec<TokenId>>, second: Option<Vec<TokenId>>| {
        first.or(second).unwrap_or_default()
    };
    Ok(Described {
        suppress: list(said.suppress_tokens, config.suppress_tokens),
        suppress_first: list(said.begin_suppress_tokens, config.begin_suppress_tokens),
        config: Config {
            kind: Kind::Whisper,
            mels: published.num_mel_bins,
            width: published.d_model,
            encoder_layers: published.encoder_layers,
            encoder_heads: published.encoder_attention_heads,
            decoder_layers: published.decoder_layers,
            decoder_heads: published.decoder_attention_heads,
            hidden: published.encoder_ffn_dim,
            audio_positions: published.max_source_positions,
            text_positions: published.max_target_positions,
            vocabulary: published.vocab_size,
            alignment_heads: said.alignment_heads.or(config.alignment_heads),
        },
    })
}

/// Takes `model.` from the names, and the head where it is the embedding once more.
fn rename(checkpoint: &mut Checkpoint) {
    let names: Vec<String> = checkpoint.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        if let Some(ours) = name.strip_prefix("model.")
            && let Some(tensor) = checkpoint.take(&name)
        {
            checkpoint.insert(ours, tensor);
        }
    }
    let head = checkpoint.get("proj_out.weight");
    if head.is_some() && head == checkpoint.get("decoder.embed_tokens.weight") {
        checkpoint.take("proj_out.weight");
    }
}
