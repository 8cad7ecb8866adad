//! Convolutions, and the blocks that are made of several.

use crate::arch::OpenError;
use crate::arch::cnn::config::{ConvolutionConfig, InvertedBottleneckConfig};
use crate::arch::cnn::net::build::{Builder, Built};
use crate::arch::cnn::net::shape::{Shape, VALUES_MAX, bounded, refuse};
use crate::arch::cnn::net::{Block, Node};
use crate::compute::layers::{Activation, Convolution, ConvolutionSize, Padding, Window};

/// A convolution before its input is known.
pub(super) struct Convolve {
    out: usize,
    groups: usize,
    window: Window,
    bias: bool,
}

impl From<&ConvolutionConfig> for Convolve {
    fn from(config: &ConvolutionConfig) -> Self {
        let window = Window {
            kernel: config.kernel.into(),
            stride: config.stride.into(),
            dilation: config.dilation.into(),
            padding: config.padding.into(),
        };
        Self { out: config.out, groups: config.groups, window, bias: config.bias }
    }
}

impl Builder<'_> {
    pub fn convolve(&mut self, convolve: &Convolve, input: [usize; 3], path: &str) -> Built {
        let size = convolve.size(input, path)?;
        let next = Shape::after(&convolve.window, input, convolve.out, path)?;
        let layer = Convolution::new(self.parameters, path, size)?;
        Ok((Node::Convolution(layer), next))
    }

    /// Expand, depthwise and project, each with its normalisation.
    pub fn inverted_bottleneck(
        &mut self,
        config: &InvertedBottleneckConfig,
        shape: Shape,
        path: &str,
    ) -> Built {
        let place = &format!("{path} (inverted-bottleneck)");
        let input = shape.picture(place)?;
        let inner = input[0]
            .checked_mul(config.expand)
            .filter(|&inner| inner > 0)
            .ok_or_else(|| refuse(place, "an expand above 0", config.expand))?;
        let stride: [usize; 2] = config.stride.into();
        let depthwise = Window {
            kernel: config.kernel.into(),
            stride,
            dilation: [1, 1],
            padding: Padding::Same,
        };
        let mut stage = Stage { builder: self, eps: config.eps, path, nodes: Vec::new() };
        let mut shape = shape;
        if config.expand != 1 {
            let expand = Convolve { out: inner, groups: 1, window: POINT, bias: false };
            shape = stage.add("expand", &expand, shape, Some(config.activation))?;
        }
        let depthwise = Convolve { out: inner, groups: inner, window: depthwise, bias: false };
        shape = stage.add("depthwise", &depthwise, shape, Some(config.activation))?;
        let project = Convolve { out: config.out, groups: 1, window: POINT, bias: false };
        shape = stage.add("project", &project, shape, None)?;

        let keeps = stride == [1, 1] && config.out == input[0];
        let shortcut = keeps.then(Vec::new);
        let block = Block { body: stage.nodes, shortcut, activation: None };
        Ok((Node::Block(block), shape))
    }
}

const POINT: Window =
    Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], padding: Padding::Explicit([0, 0]) };

/// Adds convolution, normalisation and activation, one stage after the other.
struct Stage<'a, 'b> {
    builder: &'a mut Builder<'b>,
    eps: f64,
    path: &'a str,
    nodes: Vec<Node>,
}

impl Stage<'_, '_> {
    fn add(
        &mut self,
        name: &str,
        convolve: &Convolve,
        shape: Shape,
        activation: Option<Activation>,
    ) -> Result<Shape, OpenError> {
        let path = format!("{}.{name}", self.path);
        let (node, next) = self.builder.convolve(convolve, shape.picture(&path)?, &path)?;
        let norm = format!("{path}_norm");
        let norm = self.builder.norm(next.channels(), self.eps, &norm, &norm)?;
        self.nodes.push(node);
        self.nodes.push(Node::BatchNorm(norm));
        self.nodes.extend(activation.map(Node::Activation));
        Ok(next)
    }
}

impl Convolve {
    fn size(&self, [input, ..]: [usize; 3], path: &str) -> Result<ConvolutionSize, OpenError> {
        let Self { out: output, groups, window, bias } = *self;
        if groups == 0 || !input.is_multiple_of(groups) || !output.is_multiple_of(groups) {
            let expected = format!("groups that divide {input} channels in and {output} out");
            return Err(refuse(path, expected, groups));
        }
        let [rows, columns] = window.kernel;
        if bounded(&[output, input / groups, rows, columns]).is_none() {
            let expected = format!("sizes above 0 and at most {VALUES_MAX} weights");
            let got = format!("{output} x {} x {rows} x {columns}", input / groups);
            return Err(refuse(path, expected, got));
        }
        Ok(ConvolutionSize { input, output, groups, window, bias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::cnn::config;
    use crate::arch::cnn::net::{Cnn, build};
    use crate::compute::layers::Mode;
    use crate::compute::{Init, Parameters, WeightError};
    use candle_core::{Device, Tensor};

    /// Answers every weight with 1, every other tensor with what leaves a value as it is.
    struct Ones(Vec<String>);

    impl Parameters for Ones {
        fn get(&mut self, name: &str, shape: &[usize], _: Init) -> Result<Tensor, WeightError> {
            let value = if name.ends_with("bias") { 0.0 } else { 1.0 };
            self.buffer(name, shape, value)
        }

        fn buffer(
            &mut self,
            name: &str,
            shape: &[usize],
            fill: f32,
        ) -> Result<Tensor, WeightError> {
            self.0.push(name.to_owned());
            Ok(Tensor::full(fill, shape, &Device::Cpu).unwrap())
        }
    }

    fn bottleneck(more: &str) -> (Cnn, Vec<String>) {
        let layer = format!("kind = \"inverted-bottleneck\", kernel = 3, eps = 0.0, {more}");
        let text = format!("layers = [{{ {layer} }}, {{ kind = \"flatten\" }}]");
        let layers = config::parse(&toml::from_str(&text).unwrap()).unwrap();
        let mut ones = Ones(Vec::new());
        (build(&layers, [1, 2, 2], &mut ones).unwrap(), ones.0)
    }

    fn forward(cnn: &Cnn) -> Vec<f32> {
        let x = Tensor::new(&[[[[1.0_f32, 2.0], [3.0, 4.0]]]], &Device::Cpu).unwrap();
        let y = cnn.forward(&x, &mut Mode::Evaluation).unwrap();
        y.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn an_inverted_bottleneck_adds_its_input_where_it_may() {
        // The depthwise window covers all four values, so each gives their sum, 10, cut off at 6 by
        // relu6; two inner channels are projected to their sum, 12; and the input is added.
        let (cnn, names) = bottleneck("out = 1, expand = 2, activation = \"relu6\"");
        assert_eq!(forward(&cnn), [13.0, 14.0, 15.0, 16.0]);
        assert_eq!(names[0], "layers.0.expand.weight");
        assert_eq!(names[1], "layers.0.expand_norm.weight");
        assert_eq!(names.last().unwrap(), "layers.0.project_norm.running_var");

        // More channels out, or a stride: nothing is added. A ratio of 1 has no expansion.
        let (cnn, names) = bottleneck("out = 2, expand = 1, activation = \"relu\"");
        assert_eq!(forward(&cnn), [10.0; 8]);
        assert_eq!(names[0], "layers.0.depthwise.weight");
        let (cnn, _) = bottleneck("out = 1, expand = 1, stride = 2, activation = \"relu\"");
        assert_eq!(forward(&cnn), [10.0]);
    }
}
