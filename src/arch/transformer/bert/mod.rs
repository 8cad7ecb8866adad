//! Embeddings of texts by a BERT encoder.

mod codec;
mod config;
mod import;
mod net;
mod plan;
mod tokens;

#[cfg(test)]
mod tests;

use crate::arch::pack::Signature;
use crate::arch::transformer;
use crate::arch::{OpenContext, OpenError, Timed, check_manifest, golden, measure};
use crate::compute::kernels::Level;
use crate::compute::{Device, Loader, WeightError};
use crate::domain::{Datatype, Item, MediaLimits, TensorSpec};
use crate::engine::{Endpoint, Network, RunError, TokenId};
use crate::package::{Package, WEIGHTS_FILE};

use codec::TextCodec;
use config::Config;
use net::Encoder;
use plan::Plan;
use tokens::{TOKENIZER_FILE, Tokens};

/// What such a package is for.
const TASK: &str = "text-embedding";

pub use import::import;

pub fn open(
    package: &mut Package,
    context: &OpenContext<'_>,
) -> Result<Box<dyn Endpoint>, OpenError> {
    let weights = package.take(WEIGHTS_FILE)?.into_words();
    let loader = Loader::owning(weights, context.device)?;
    let (network, mut codec) = build(package, loader, context.device, context.level)?;
    golden::check(package, &network, &codec)?;
    codec.bytes_max = context.media.text_bytes_max;
    Ok(context.one_shot(package, network, codec))
}

pub fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let (network, mut codec) = load(package, context.device, context.level)?;
    codec.bytes_max = context.media.text_bytes_max;
    measure::one_shot(package, (network, codec), input)
}

/// The network and the codec of a package, not yet checked against its golden samples.
fn load(
    package: &Package,
    device: &Device,
    level: Level,
) -> Result<(BertNetwork, TextCodec), OpenError> {
    build(package, Loader::new(package.file(WEIGHTS_FILE)?, device)?, device, level)
}

fn build(
    package: &Package,
    mut loader: Loader<'_>,
    device: &Device,
    level: Level,
) -> Result<(BertNetwork, TextCodec), OpenError> {
    let manifest = &package.manifest;
    let config = Config::read(&manifest.architecture.config)?;
    check_manifest(manifest, TASK, &signature(&config))?;
    let tokens_max = config.tokens_max();
    let tokens = Tokens::read(package.file(TOKENIZER_FILE)?, config.vocabulary, tokens_max)?;
    let encoder = Encoder::new(&mut loader, &config, device)?;
    loader.finish()?;
    // What a golden sample may be is the package's choice, not the server's.
    let bytes_max = MediaLimits::default().text_bytes_max;
    let codec = TextCodec { tokens, bytes_max, tokens_max };
    Ok((BertNetwork::new(encoder, level)?, codec))
}

/// A text in, its embedding out.
fn signature(config: &Config) -> Signature {
    let spec = |name: &str, datatype, shape| TensorSpec { name: name.to_owned(), datatype, shape };
    let width = i64::try_from(config.width).unwrap_or(i64::MAX);
    transformer::signature(
        spec("text", Datatype::Bytes, vec![1]),
        spec("embedding", Datatype::Fp32, vec![width]),
    )
}

/// The encoder as the engine runs it: by its plan on a CPU, as a graph elsewhere.
enum BertNetwork {
    Plan(Box<Plan>),
    Graph(Box<Encoder>),
}

impl BertNetwork {
    /// On a CPU the graph's tensors are given back.
    fn new(encoder: Encoder, level: Level) -> Result<Self, WeightError> {
        if !encoder.is_on_cpu() {
            return Ok(Self::Graph(Box::new(encoder)));
        }
        let plan = Plan::new(&encoder, level).map_err(|error| WeightError::Device {
            name: "encoder".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self::Plan(Box::new(plan)))
    }
}

impl Network for BertNetwork {
    /// A text's tokens, those that frame it included.
    type Sample = Vec<TokenId>;
    type Output = Vec<f32>;

    fn cost(&self, sample: &Vec<TokenId>) -> usize {
        sample.len()
    }

    fn pads(&self) -> bool {
        matches!(self, Self::Graph(_))
    }

    fn run(&self, batch: &[&Vec<TokenId>]) -> Result<Vec<Vec<f32>>, RunError> {
        let rows: Vec<&[TokenId]> = batch.iter().map(|row| row.as_slice()).collect();
        match self {
            Self::Plan(plan) => plan.embed(&rows),
            Self::Graph(encoder) => {
                encoder.embed(&rows).map_err(|error| RunError(error.to_string()))
            }
        }
    }
}
