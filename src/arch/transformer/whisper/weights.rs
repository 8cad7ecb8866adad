//! The network's tensors, asked for once by the names that Hugging Face gives them. The graph computes
//! with them; the plan packs them.

use candle_core::Tensor;

use crate::arch::transformer::whisper::config::Config;
use crate::compute::layers::{LayerNorm, Linear};
use crate::compute::{Init, Parameters, WeightError};

type Result<T> = std::result::Result<T, WeightError>;

/// Every tensor of a Whisper (Radford et al. 2022).
pub struct Weights {
    pub encoder: Encoder,
    pub decoder: Decoder,
}

pub struct Encoder {
    pub conv1: Conv1d,
    pub conv2: Conv1d,
    /// [`audio_positions`, width].
    pub positions: Tensor,
    pub blocks: Vec<EncoderBlock>,
    pub norm: LayerNorm,
}

pub struct EncoderBlock {
    pub attention: Attention,
    pub feed: Feed,
}

pub struct Decoder {
    /// [vocabulary, width]; also the head's weights.
    pub tokens: Tensor,
    /// [`text_positions`, width].
    pub positions: Tensor,
    pub blocks: Vec<DecoderBlock>,
    pub norm: LayerNorm,
}

pub struct DecoderBlock {
    pub attention: Attention,
    pub cross: Attention,
    pub feed: Feed,
}

/// A convolution over time with a kernel of 3, padded by 1.
pub struct Conv1d {
    /// [output, input, 3].
    pub weight: Tensor,
    /// [output].
    pub bias: Tensor,
}

/// An attention with the norm before it.
pub struct Attention {
    pub norm: LayerNorm,
    pub query: Linear,
    /// Without a bias, which a softmax would not see.
    pub key: Linear,
    pub value: Linear,
    pub out: Linear,
}

/// Two linear layers with a GELU between them, and the norm before them.
pub struct Feed {
    pub norm: LayerNorm,
    pub up: Linear,
    pub down: Linear,
}

impl Weights {
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(parameters: &mut dyn Parameters, config: &Config) -> Result<Self> {
        Ok(Self {
            encoder: Encoder::new(parameters, config)?,
            decoder: Decoder::new(parameters, config)?,
        })
    }
}

impl Encoder {
    fn new(parameters: &mut dyn Parameters, config: &Config) -> Result<Self> {
        let &Config { mels, width, hidden, audio_positions, .. } = config;
        let block = |parameters: &mut dyn Parameters, i| {
            let name = format!("encoder.layers.{i}");
            let attention = Attention::new(parameters, &name, "self_attn", width)?;
            Ok(EncoderBlock { attention, feed: Feed::new(parameters, &name, [width, hidden])? })
        };
        Ok(Self {
            conv1: Conv1d::new(parameters, "encoder.conv1", [mels, width])?,
            conv2: Conv1d::new(parameters, "encoder.conv2", [width, width])?,
            positions: table(parameters, "encoder.embed_positions", [audio_positions, width])?,
            blocks: (0..config.encoder_layers)
                .map(|i| block(parameters, i))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(parameters, "encoder.layer_norm", width)?,
        })
    }
}

impl Decoder {
    fn new(parameters: &mut dyn Parameters, config: &Config) -> Result<Self> {
        let &Config { width, hidden, text_positions, vocabulary, .. } = config;
        let block = |parameters: &mut dyn Parameters, i| {
            let name = format!("decoder.layers.{i}");
            Ok(DecoderBlock {
                attention: Attention::new(parameters, &name, "self_attn", width)?,
                cross: Attention::new(parameters, &name, "encoder_attn", width)?,
                feed: Feed::new(parameters, &name, [width, hidden])?,
            })
        };
        Ok(Self {
            tokens: table(parameters, "decoder.embed_tokens", [vocabulary, width])?,
            positions: table(parameters, "decoder.embed_positions", [text_positions, width])?,
            blocks: (0..config.decoder_layers)
                .map(|i| block(parameters, i))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(parameters, "decoder.layer_norm", width)?,
        })
    }
}

impl Conv1d {
    fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [input, output]: [usize; 2],
    ) -> Result<Self> {
        let init = Init::fan_in(input * 3);
        Ok(Self {
            weight: parameters.get(&format!("{name}.weight"), &[output, input, 3], init)?,
            bias: parameters.get(&format!("{name}.bias"), &[output], init)?,
        })
    }
}

impl Attention {
    /// `kind` is `self_attn` or `encoder_attn`.
    fn new(parameters: &mut dyn Parameters, block: &str, kind: &str, width: usize) -> Result<Self> {
        let name = format!("{block}.{kind}");
        let mut linear = |part: &str, bias| {
            Linear::new(parameters, &format!("{name}.{part}_proj"), [width, width], bias)
        };
        Ok(Self {
            query: linear("q", true)?,
            key: linear("k", false)?,
            value: linear("v", true)?,
            out: linear("out", true)?,
            norm: LayerNorm::new(parameters, &format!("{name}_layer_norm"), width)?,
        })
    }
}

impl Feed {
    fn new(
        parameters: &mut dyn Parameters,
        block: &str,
        [width, hidden]: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::new(parameters, &format!("{block}.final_layer_norm"), width)?,
            up: Linear::new(parameters, &format!("{block}.fc1"), [width, hidden], true)?,
            down: Linear::new(parameters, &format!("{block}.fc2"), [hidden, width], true)?,
        })
    }
}

fn table(parameters: &mut dyn Parameters, name: &str, shape: [usize; 2]) -> Result<Tensor> {
    parameters.get(&format!("{name}.weight"), &shape, Init::Normal(0.02))
}
