//! A directory as `CTranslate2` converts it: model.bin with names of its own, in which projections of one
//! input are one tensor, and config.json with the tokens that are never said.

use serde::Deserialize;

use crate::arch::transformer::whisper::config::{Config, Head, Kind};
use crate::arch::transformer::whisper::import::{Described, refuse};
use crate::arch::{ImportError, Source};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::TokenId;

const CONFIG_FILE: &str = "config.json";
const WEIGHTS_FILE: &str = "model.bin";

/// What is wanted of config.json.
#[derive(Debug, Deserialize)]
struct Published {
    suppress_ids: Vec<TokenId>,
    suppress_ids_begin: Vec<TokenId>,
    #[serde(default)]
    alignment_heads: Option<Vec<Head>>,
}

/// Scalars, and what they must be: the network is built in one way only. 3 is the GELU by the error
/// function.
const SCALARS: &[(&str, i64)] = &[
    ("decoder/activation", 3),
    ("decoder/alibi", 0),
    ("decoder/pre_norm", 1),
    ("decoder/scale_embeddings", 0),
    ("decoder/start_from_zero_embedding", 0),
];

/// Which heads tell when a word was said, which config.json says too; and the head, which is the embedding.
const UNUSED: &[&str] =
    &["decoder/alignment_heads", "decoder/alignment_layer", "decoder/projection/weight"];

/// More are refused as tensors that the network does not have.
const LAYERS_MAX: usize = 64;

/// The tensors get Hugging Face's names.
///
/// # Errors
/// [`ImportError`] when the file holds something else than a Whisper.
pub fn describe(
    source: &mut Source,
    checkpoint: &mut Checkpoint,
) -> Result<Described, ImportError> {
    let published: Published = source.json(CONFIG_FILE)?;
    for &(name, expected) in SCALARS {
        let got = checkpoint.take(name).map_or(Some(expected), |tensor| scalar(&tensor));
        if got != Some(expected) {
            let got = got.map_or_else(|| "no integer".to_owned(), |got| got.to_string());
            return Err(refuse(WEIGHTS_FILE, format!("{name} {expected}"), got));
        }
    }
    let head = checkpoint.get("decoder/projection/weight");
    if head.is_some() && head != checkpoint.get("decoder/embeddings/weight") {
        return Err(refuse(WEIGHTS_FILE, "a head that is the embedding", "another"));
    }
    for name in UNUSED {
        checkpoint.take(name);
    }
    let Published { suppress_ids, suppress_ids_begin, alignment_heads } = published;
    let config = Config { alignment_heads, ..sizes(checkpoint)? };
    rename(checkpoint, &config)?;
    Ok(Described { config, suppress: suppress_ids, suppress_first: suppress_ids_begin })
}

/// The sizes that the shapes tell, and the heads, which stand beside them.
fn sizes(checkpoint: &mut Checkpoint) -> Result<Config, ImportError> {
    let size = |name: &str, axis: usize| {
        let shape = checkpoint.get(name).map(Tensor::shape);
        let found = shape.and_then(|shape| shape.get(axis).copied());
        found.ok_or_else(|| refuse(WEIGHTS_FILE, format!("a variable {name}"), "none"))
    };
    let layers = |side: &str| {
        let has = |i: &usize| checkpoint.get(&format!("{side}/layer_{i}/ffn/linear_0/weight"));
        (0..LAYERS_MAX).take_while(|i| has(i).is_some()).count()
    };
    let mut config = Config {
        kind: Kind::Whisper,
        mels: size("encoder/conv1/weight", 1)?,
        width: size("encoder/conv1/weight", 0)?,
        encoder_layers: layers("encoder"),
        encoder_heads: 0,
        decoder_layers: layers("decoder"),
        decoder_heads: 0,
        hidden: size("encoder/layer_0/ffn/linear_0/weight", 0)?,
        audio_positions: size("encoder/position_encodings/encodings", 0)?,
        text_positions: size("decoder/position_encodings/encodings", 0)?,
        vocabulary: size("decoder/embeddings/weight", 0)?,
        alignment_heads: None,
    };
    let mut heads = |name: &str| {
        let got = checkpoint.take(name).and_then(|tensor| usize::try_from(scalar(&tensor)?).ok());
        got.ok_or_else(|| refuse(WEIGHTS_FILE, format!("a number {name}"), "none"))
    };
    config.encoder_heads = heads("encoder/num_heads")?;
    config.decoder_heads = heads("decoder/num_heads")?;
    Ok(config)
}

/// The value of an integer without dimensions.
fn scalar(tensor: &Tensor) -> Option<i64> {
    if !tensor.shape().is_empty() || !tensor.dtype().is_integer() {
        return None;
    }
    let mut bytes = [0; 8];
    bytes.get_mut(..tensor.data().len())?.copy_from_slice(tensor.data());
    // All that stand here are small and not negative.
    Some(i64::from_le_bytes(bytes))
}

fn rename(checkpoint: &mut Checkpoint, config: &Config) -> Result<(), ImportError> {
    let mut names = Renaming { checkpoint, width: config.width };
    for (side, layers) in [("encoder", config.encoder_layers), ("decoder", config.decoder_layers)] {
        let positions = format!("{side}/position_encodings/encodings");
        names.one(&positions, format!("{side}.embed_positions.weight"));
        names.norm(&format!("{side}/layer_norm"), &format!("{side}.layer_norm"));
        for i in 0..layers {
            names.block(&format!("{side}/layer_{i}"), &format!("{side}.layers.{i}"))?;
        }
    }
    names.one("decoder/embeddings/weight", "decoder.embed_tokens.weight".to_owned());
    names.linear("encoder/conv1", "encoder.conv1");
    names.linear("encoder/conv2", "encoder.conv2");
    Ok(())
}

/// Moves tensors from their names to ours. One that is missing is missed when the network asks for it.
struct Renaming<'a> {
    checkpoint: &'a mut Checkpoint,
    width: usize,
}

impl Renaming<'_> {
    fn one(&mut self, theirs: &str, ours: String) {
        if let Some(tensor) = self.checkpoint.take(theirs) {
            self.checkpoint.insert(ours, tensor);
        }
    }

    fn linear(&mut self, theirs: &str, ours: &str) {
        self.one(&format!("{theirs}/weight"), format!("{ours}.weight"));
        self.one(&format!("{theirs}/bias"), format!("{ours}.bias"));
    }

    fn norm(&mut self, theirs: &str, ours: &str) {
        self.one(&format!("{theirs}/gamma"), format!("{ours}.weight"));
        self.one(&format!("{theirs}/beta"), format!("{ours}.bias"));
    }

    fn block(&mut self, theirs: &str, ours: &str) -> Result<(), ImportError> {
        let own = format!("{theirs}/self_attention");
        self.split(&format!("{own}/linear_0"), &format!("{ours}.self_attn"), &["q", "k", "v"])?;
        self.linear(&format!("{own}/linear_1"), &format!("{ours}.self_attn.out_proj"));
        self.norm(&format!("{own}/layer_norm"), &format!("{ours}.self_attn_layer_norm"));
        let cross = format!("{theirs}/attention");
        self.split(&format!("{cross}/linear_0"), &format!("{ours}.encoder_attn"), &["q"])?;
        self.split(&format!("{cross}/linear_1"), &format!("{ours}.encoder_attn"), &["k", "v"])?;
        self.linear(&format!("{cross}/linear_2"), &format!("{ours}.encoder_attn.out_proj"));
        self.norm(&format!("{cross}/layer_norm"), &format!("{ours}.encoder_attn_layer_norm"));
        self.linear(&format!("{theirs}/ffn/linear_0"), &format!("{ours}.fc1"));
        self.linear(&format!("{theirs}/ffn/linear_1"), &format!("{ours}.fc2"));
        self.norm(&format!("{theirs}/ffn/layer_norm"), &format!("{ours}.final_layer_norm"));
        Ok(())
    }

    /// Projections that lie one after the other. Keys have no bias of their own: what stands there is 0.
    fn split(&mut self, theirs: &str, ours: &str, parts: &[&str]) -> Result<(), ImportError> {
        for suffix in ["weight", "bias"] {
            let name = format!("{theirs}/{suffix}");
            let Some(tensor) = self.checkpoint.take(&name) else { continue };
            let rows = parts.len() * self.width;
            if tensor.shape().first() != Some(&rows) {
                let got = format!("{:?}", tensor.shape());
                return Err(refuse(WEIGHTS_FILE, format!("{name} of {rows} rows"), got));
            }
            for (i, &part) in parts.iter().enumerate() {
                let own = tensor.rows(i * self.width..(i + 1) * self.width);
                match own {
                    Some(own) if part == "k" && suffix == "bias" => zero(&name, &own)?,
                    Some(own) => {
                        self.checkpoint.insert(format!("{ours}.{part}_proj.{suffix}"), own);
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

fn zero(name: &str, bias: &Tensor) -> Result<(), ImportError> {
    // Little-endian: the last byte of a float has its sign, which a zero may have.
    let is_zero = |value: &[u8]| {
        let (sign, rest) = value.split_last().unwrap_or((&0, &[]));
        matches!(sign, 0 | 0x80) && rest.iter().all(|&byte| byte == 0)
    };
    if bias.data().chunks_exact(bias.dtype().size()).all(is_zero) {
        return Ok(());
    }
    Err(refuse(WEIGHTS_FILE, format!("{name}: keys whose bias is 0"), "another bias"))
}
