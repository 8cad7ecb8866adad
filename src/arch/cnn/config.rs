//! A convolutional network as a manifest describes it: a list of layers. A network of your own needs
//! this list and its weights, and no Rust.
//!
//! ```toml
//! [architecture]
//! name = "cnn"
//!
//! [[architecture.config.layers]]
//! kind = "convolution"
//! out = 16
//! kernel = 5                # or [rows, columns]; so are stride (1), dilation (1) and padding (0)
//! padding = "same"          # TensorFlow's SAME, or rows and columns on each side
//!
//! [[architecture.config.layers]]
//! kind = "relu"
//! ```
//!
//! The tensors of layer `i` in weights.safetensors (shapes as `PyTorch` has them, F32, F16 or BF16):
//!
//! | kind | tensors |
//! | --- | --- |
//! | convolution | `layers.i.weight` [out, in / groups, rows, columns], `layers.i.bias` [out] |
//! | linear | `layers.i.weight` [out, in], `layers.i.bias` [out] |
//! | batch-norm | `layers.i.weight`, `.bias`, `.running_mean`, `.running_var`, each [channels] |
//! | residual | its own lists: `layers.i.layers.j.…` and `layers.i.shortcut.j.…` |
//! | inverted-bottleneck | `layers.i.expand.weight`, `layers.i.depthwise.weight`, `layers.i.project.weight`, each without bias and followed by a batch-norm: `layers.i.expand_norm.…`, `layers.i.depthwise_norm.…`, `layers.i.project_norm.…`. There is no `expand` where the ratio is 1 |
//!
//! All other kinds have none.

use serde::Deserialize;

use crate::arch::OpenError;
use crate::compute::layers::{self, Activation};

/// The manifest's section, as errors name it.
pub const SECTION: &str = "architecture.config";

/// The layers in order. Each is read by itself, so that an error names its index.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    layers: Vec<toml::Value>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    Convolution(ConvolutionConfig),
    BatchNorm {
        #[serde(default = "epsilon")]
        eps: f64,
    },
    Relu {},
    Relu6 {},
    Silu {},
    HardSwish {},
    Gelu {},
    MaxPool(MaxPoolConfig),
    AveragePool(AveragePoolConfig),
    GlobalAveragePool {},
    Linear {
        out: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    Flatten {},
    Dropout {
        rate: f32,
    },
    Residual(ResidualConfig),
    InvertedBottleneck(InvertedBottleneckConfig),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvolutionConfig {
    pub out: usize,
    pub kernel: Pair,
    #[serde(default)]
    pub stride: Pair,
    #[serde(default)]
    pub dilation: Pair,
    #[serde(default = "one")]
    pub groups: usize,
    #[serde(default)]
    pub padding: Padding,
    #[serde(default = "yes")]
    pub bias: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPoolConfig {
    pub kernel: Pair,
    /// The kernel's size where it is left out.
    pub stride: Option<Pair>,
    /// Smaller than the kernel.
    #[serde(default)]
    pub padding: Padding,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePoolConfig {
    pub kernel: Pair,
    /// The kernel's size where it is left out.
    pub stride: Option<Pair>,
}

/// activation(layers(x) + shortcut(x)); an empty shortcut is x itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualConfig {
    pub layers: Vec<Layer>,
    #[serde(default)]
    pub shortcut: Vec<Layer>,
    pub activation: Option<Activation>,
}

/// `MBConv` (Sandler and others 2018, `MobileNetV2`): expand, depthwise, project, each normalised, the
/// first two activated, SAME padding. The input is added where the stride is 1 and the channels do not
/// change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvertedBottleneckConfig {
    pub out: usize,
    /// Channels inside are this many times those that come in.
    pub expand: usize,
    pub kernel: Pair,
    #[serde(default)]
    pub stride: Pair,
    pub activation: Activation,
    #[serde(default = "epsilon")]
    pub eps: f64,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn epsilon() -> f64 {
    1e-5
}

/// Rows and columns, written as one number where they are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or two as [rows, columns]")]
pub enum Pair {
    Both(usize),
    Each([usize; 2]),
}

impl Default for Pair {
    fn default() -> Self {
        Self::Both(1)
    }
}

impl From<Pair> for [usize; 2] {
    fn from(pair: Pair) -> Self {
        match pair {
            Pair::Both(size) => [size; 2],
            Pair::Each(sizes) => sizes,
        }
    }
}

/// Rows and columns of zeros on each side, or `"same"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected \"same\", a whole number, or two as [rows, columns]")]
pub enum Padding {
    Named(Named),
    Explicit(Pair),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    Same,
}

impl Default for Padding {
    fn default() -> Self {
        Self::Explicit(Pair::Both(0))
    }
}

impl From<Padding> for layers::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Named(Named::Same) => Self::Same,
            Padding::Explicit(pair) => Self::Explicit(pair.into()),
        }
    }
}

impl Layer {
    /// The kind as the manifest writes it, for errors.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Convolution(_) => "convolution",
            Self::BatchNorm { .. } => "batch-norm",
            Self::Relu {} => "relu",
            Self::Relu6 {} => "relu6",
            Self::Silu {} => "silu",
            Self::HardSwish {} => "hard-swish",
            Self::Gelu {} => "gelu",
            Self::MaxPool(_) => "max-pool",
            Self::AveragePool(_) => "average-pool",
            Self::GlobalAveragePool {} => "global-average-pool",
            Self::Linear { .. } => "linear",
            Self::Flatten {} => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::Residual(_) => "residual",
            Self::InvertedBottleneck(_) => "inverted-bottleneck",
        }
    }
}

/// Reads `[architecture.config]`.
///
/// # Errors
/// [`OpenError::Config`] naming the layer's index and the key that is unknown, missing or wrong.
pub fn parse(table: &toml::Table) -> Result<Vec<Layer>, OpenError> {
    let table: Table = crate::arch::section(SECTION, table)?;
    let read = |(index, value): (usize, toml::Value)| {
        value.try_into::<Layer>().map_err(|error| OpenError::Config {
            section: SECTION,
            reason: format!("layers.{index}: {}", error.message()),
        })
    };
    table.layers.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Layer>, String> {
        parse(&toml::from_str(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_may_be_one_number_or_two() {
        let layers = read(
            "[[layers]]\nkind = \"convolution\"\nout = 4\nkernel = [3, 1]\npadding = \"same\"\n\
             [[layers]]\nkind = \"max-pool\"\nkernel = 2",
        )
        .unwrap();
        let [Layer::Convolution(convolution), Layer::MaxPool(pool)] = layers.as_slice() else {
            panic!("{layers:?}")
        };
        assert_eq!(<[usize; 2]>::from(convolution.kernel), [3, 1]);
        assert_eq!(<[usize; 2]>::from(convolution.stride), [1, 1]);
        assert_eq!(layers::Padding::from(convolution.padding), layers::Padding::Same);
        assert!(convolution.bias && convolution.groups == 1);
        assert_eq!(pool.stride, None);
    }

    #[test]
    fn an_error_names_the_layer_and_the_key() {
        let relu = "[[layers]]\nkind = \"relu\"\n";
        for (layer, words) in [
            ("kind = \"conv\"", ["layers.1", "conv"]),
            ("kind = \"convolution\"\nout = 1", ["layers.1", "kernel"]),
            ("kind = \"convolution\"\nout = -1\nkernel = 1", ["layers.1", "-1"]),
            ("kind = \"convolution\"\nout = 1\nkernel = \"a\"", ["layers.1", "[rows, columns]"]),
            ("kind = \"relu\"\nsize = 1", ["layers.1", "size"]),
            ("kind = \"residual\"\nlayers = [{ kind = \"x\" }]", ["layers.1", "`x`"]),
        ] {
            let error = read(&format!("{relu}[[layers]]\n{layer}")).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert!(read("layer = []").unwrap_err().contains("layer"));
    }
}
