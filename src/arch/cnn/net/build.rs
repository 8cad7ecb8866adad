//! From a list of layers to a network. Shapes are inferred on the way: a list that does not fit its
//! input is refused with the layer's place, before anything is allocated for it.

use crate::arch::OpenError;
use crate::arch::cnn::config::{Layer, ResidualConfig};
use crate::arch::cnn::net::blocks::Convolve;
use crate::arch::cnn::net::shape::{Shape, VALUES_MAX, bounded, refuse};
use crate::arch::cnn::net::{Block, Cnn, Node};
use crate::compute::Parameters;
use crate::compute::layers::{
    Activation, AveragePool, BatchNorm, Dropout, Linear, MaxPool, Padding, Window,
};

/// Builds the network that `layers` describe for an input of channels, height and width.
///
/// # Errors
/// [`OpenError::Config`] with the layer that does not fit, [`OpenError::Weights`] when a tensor is
/// missing or of another shape.
pub fn build(
    layers: &[Layer],
    input: [usize; 3],
    parameters: &mut dyn Parameters,
) -> Result<Cnn, OpenError> {
    let shape = Shape::picture_of(input).ok_or_else(|| {
        refuse("the input", "sizes above 0 that fit in memory", format!("{input:?}"))
    })?;
    let (nodes, end) = Builder { parameters }.sequence(layers, shape, "layers")?;
    match end {
        Shape::Vector(outputs) => Ok(Cnn { nodes, input, outputs }),
        Shape::Picture(_) => {
            let expected = "a vector: end in global-average-pool, or in flatten and linear";
            Err(refuse("the last layer", expected, end))
        }
    }
}

pub(super) struct Builder<'a> {
    pub parameters: &'a mut dyn Parameters,
}

pub(super) type Built = Result<(Node, Shape), OpenError>;

impl Builder<'_> {
    pub fn sequence(
        &mut self,
        layers: &[Layer],
        mut shape: Shape,
        path: &str,
    ) -> Result<(Vec<Node>, Shape), OpenError> {
        let mut nodes = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let (node, next) = self.layer(layer, shape, &format!("{path}.{index}"))?;
            nodes.push(node);
            shape = next;
        }
        Ok((nodes, shape))
    }

    fn layer(&mut self, layer: &Layer, shape: Shape, path: &str) -> Built {
        let place = &format!("{path} ({})", layer.kind());
        let activation = |activation| Ok((Node::Activation(activation), shape));
        match layer {
            Layer::Convolution(config) => {
                self.convolve(&Convolve::from(config), shape.picture(place)?, path)
            }
            Layer::BatchNorm { eps } => {
                let norm = self.norm(shape.channels(), *eps, path, place)?;
                Ok((Node::BatchNorm(norm), shape))
            }
            Layer::Relu {} => activation(Activation::Relu),
            Layer::Relu6 {} => activation(Activation::Relu6),
            Layer::Silu {} => activation(Activation::Silu),
            Layer::HardSwish {} => activation(Activation::HardSwish),
            Layer::Gelu {} => activation(Activation::Gelu),
            Layer::MaxPool(config) => {
                let stride = config.stride.unwrap_or(config.kernel);
                let window = pool(config.kernel.into(), stride.into(), config.padding.into());
                let next = pooled(&window, shape, place)?;
                Ok((Node::MaxPool(MaxPool(window)), next))
            }
            Layer::AveragePool(config) => {
                let stride = config.stride.unwrap_or(config.kernel);
                let window = pool(config.kernel.into(), stride.into(), Padding::Explicit([0, 0]));
                let next = pooled(&window, shape, place)?;
                Ok((Node::AveragePool(AveragePool(window)), next))
            }
            Layer::GlobalAveragePool {} => {
                let [channels, ..] = shape.picture(place)?;
                Ok((Node::GlobalAveragePool, Shape::Vector(channels)))
            }
            Layer::Linear { out, bias } => self.linear(shape, *out, *bias, path),
            Layer::Flatten {} => {
                let count = shape.picture(place)?.iter().product();
                Ok((Node::Flatten, Shape::Vector(count)))
            }
            Layer::Dropout { rate } => dropout(*rate, shape, place),
            Layer::Residual(config) => self.residual(config, shape, path),
            Layer::InvertedBottleneck(config) => self.inverted_bottleneck(config, shape, path),
        }
    }

    pub fn norm(
        &mut self,
        channels: usize,
        epsilon: f64,
        path: &str,
        place: &str,
    ) -> Result<BatchNorm, OpenError> {
        if !(0.0..1.0).contains(&epsilon) {
            return Err(refuse(place, "an eps from 0 to below 1", epsilon));
        }
        Ok(BatchNorm::new(self.parameters, path, channels, epsilon)?)
    }

    fn linear(&mut self, shape: Shape, out: usize, bias: bool, path: &str) -> Built {
        let place = &format!("{path} (linear)");
        let Shape::Vector(input) = shape else {
            return Err(refuse(place, "a vector: put a flatten layer before it", shape));
        };
        if bounded(&[input, out]).is_none() {
            let expected = format!("an out above 0 and at most {VALUES_MAX} weights");
            return Err(refuse(place, expected, format!("{input} x {out}")));
        }
        let layer = Linear::new(self.parameters, path, [input, out], bias)?;
        Ok((Node::Linear(layer), Shape::Vector(out)))
    }

    fn residual(&mut self, config: &ResidualConfig, shape: Shape, path: &str) -> Built {
        let (body, end) = self.sequence(&config.layers, shape, &format!("{path}.layers"))?;
        let (shortcut, other) =
            self.sequence(&config.shortcut, shape, &format!("{path}.shortcut"))?;
        if end != other {
            let expected = format!("a shortcut that ends in {end}, as its layers do");
            return Err(refuse(&format!("{path} (residual)"), expected, other));
        }
        let block = Block { body, shortcut: Some(shortcut), activation: config.activation };
        Ok((Node::Block(block), end))
    }
}

fn dropout(rate: f32, shape: Shape, place: &str) -> Built {
    if (0.0..1.0).contains(&rate) {
        Ok((Node::Dropout(Dropout(rate)), shape))
    } else {
        Err(refuse(place, "a rate from 0 to below 1", rate))
    }
}

fn pool(kernel: [usize; 2], stride: [usize; 2], padding: Padding) -> Window {
    Window { kernel, stride, dilation: [1, 1], padding }
}

fn pooled(window: &Window, shape: Shape, place: &str) -> Result<Shape, OpenError> {
    let [channels, rows, columns] = shape.picture(place)?;
    if let Padding::Explicit(pads) = window.padding
        && (pads[0] >= window.kernel[0] || pads[1] >= window.kernel[1])
    {
        return Err(refuse(place, "padding smaller than the kernel", format!("{pads:?}")));
    }
    Shape::after(window, [channels, rows, columns], channels, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::cnn::config;
    use crate::compute::{Device, Trainable};

    fn built(layers: &str) -> Result<Cnn, String> {
        let table = toml::from_str(&format!("layers = [{layers}]")).unwrap();
        let layers = config::parse(&table).map_err(|error| error.to_string())?;
        let mut made = Trainable::new(0, &Device::Cpu);
        build(&layers, [3, 8, 8], &mut made).map_err(|error| error.to_string())
    }

    const HEAD: &str = "{ kind = \"global-average-pool\" }, { kind = \"linear\", out = 5 }";

    #[test]
    fn shapes_are_inferred_to_the_end() {
        let cnn = built(&format!(
            "{{ kind = \"convolution\", out = 4, kernel = 3, stride = 2, padding = \"same\" }},
             {{ kind = \"batch-norm\" }}, {{ kind = \"hard-swish\" }},
             {{ kind = \"inverted-bottleneck\", out = 6, expand = 2, kernel = 3, stride = 2, activation = \"relu6\" }},
             {{ kind = \"residual\", layers = [{{ kind = \"convolution\", out = 8, kernel = 1 }}],
                shortcut = [{{ kind = \"convolution\", out = 8, kernel = 1 }}], activation = \"relu\" }},
             {HEAD}"
        ));
        assert_eq!(cnn.unwrap().outputs(), 5);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let flatten = "{ kind = \"flatten\" }";
        for (layers, words) in [
            ("", "last layer"),
            ("{ kind = \"linear\", out = 5 }", "layers.0 (linear): expected a vector"),
            (&format!("{flatten}, {{ kind = \"linear\", out = 0 }}"), "layers.1"),
            (&format!("{flatten}, {{ kind = \"linear\", out = 9000000000000000000 }}"), "layers.1"),
            (&format!("{flatten}, {flatten}"), "layers.1 (flatten)"),
            ("{ kind = \"convolution\", out = 4, kernel = 9 }", "8 rows and 8 columns"),
            ("{ kind = \"convolution\", out = 4, kernel = 0 }", "layers.0"),
            ("{ kind = \"convolution\", out = 4, kernel = 1, stride = 0 }", "layers.0"),
            ("{ kind = \"convolution\", out = 4, kernel = 1, groups = 0 }", "groups"),
            ("{ kind = \"convolution\", out = 4, kernel = 1, groups = 2 }", "groups"),
            (
                "{ kind = \"convolution\", out = 1, kernel = 1, padding = 4611686018427387904 }",
                "layers.0",
            ),
            ("{ kind = \"convolution\", out = 1, kernel = 1, padding = 100000 }", "layers.0"),
            ("{ kind = \"convolution\", out = 1, kernel = 20000, padding = 20000 }", "layers.0"),
            ("{ kind = \"max-pool\", kernel = 2, padding = 2 }", "smaller than the kernel"),
            ("{ kind = \"average-pool\", kernel = 9 }", "layers.0"),
            ("{ kind = \"dropout\", rate = 1.0 }", "rate"),
            ("{ kind = \"batch-norm\", eps = -1.0 }", "eps"),
            (
                "{ kind = \"residual\", layers = [{ kind = \"convolution\", out = 4, kernel = 1 }] }",
                "shortcut",
            ),
            (
                "{ kind = \"residual\", layers = [{ kind = \"linear\", out = 1 }] }",
                "layers.0.layers.0",
            ),
            (
                "{ kind = \"inverted-bottleneck\", out = 3, expand = 0, kernel = 3, activation = \"relu\" }",
                "expand",
            ),
        ] {
            let error = built(layers).unwrap_err();
            assert!(error.contains(words), "{layers}: {error}");
        }
    }
}
