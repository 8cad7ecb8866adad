//! Embedding, recurrent layers, linear head.

use std::cmp::Reverse;

use candle_core::{Device, Result, Tensor};

use crate::arch::gru::config::Config;
use crate::compute::layers::{
    Dropout, FoldedLayer, LayerState, Mode, RecurrentLayer, Sequence, affine, rows_matmul,
};
use crate::compute::{Init, Parameters, WeightError};
use crate::engine::{Generator, Row, RunError, Stepwise, TokenId};

/// The parameters, as they are stored: for names and shapes see [`Config`].
pub struct RecurrentModel {
    embedding: Tensor,
    layers: Vec<RecurrentLayer>,
    dropout: Option<Dropout>,
    head_weight: Tensor,
    head_bias: Tensor,
}

impl RecurrentModel {
    /// A network of `vocabulary` tokens.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        config: &Config,
        vocabulary: usize,
    ) -> std::result::Result<Self, WeightError> {
        let Config { cell, embedding, hidden, .. } = *config;
        let table =
            parameters.get("embedding.weight", &[vocabulary, embedding], Init::Normal(1.0))?;
        let layers = (0..config.layers)
            .map(|index| {
                let input = if index == 0 { embedding } else { hidden };
                RecurrentLayer::new(parameters, "rnn", index, cell, [input, hidden])
            })
            .collect::<std::result::Result<_, _>>()?;
        let init = Init::fan_in(hidden);
        Ok(Self {
            embedding: table,
            layers,
            dropout: (config.dropout > 0.0).then_some(Dropout(config.dropout)),
            head_weight: parameters.get("head.weight", &[vocabulary, hidden], init)?,
            head_bias: parameters.get("head.bias", &[vocabulary], init)?,
        })
    }

    /// The same parameters without gradients, for measuring: what is computed from them keeps no history,
    /// which over a long text would fill the memory.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            embedding: self.embedding.detach(),
            layers: self.layers.iter().map(RecurrentLayer::detach).collect(),
            dropout: self.dropout,
            head_weight: self.head_weight.detach(),
            head_bias: self.head_bias.detach(),
        }
    }

    /// [vocabulary, embedding].
    #[must_use]
    pub fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    #[must_use]
    pub fn layers(&self) -> &[RecurrentLayer] {
        &self.layers
    }

    /// Weight [vocabulary, hidden] and bias.
    #[must_use]
    pub fn head(&self) -> (&Tensor, &Tensor) {
        (&self.head_weight, &self.head_bias)
    }

    /// What the last layer gives to the head for all steps of a window, [steps × rows, hidden]; `steps` holds a
    /// token for every row. Replaces `states`, through which gradients do not flow on.
    ///
    /// # Errors
    /// When a token is outside the vocabulary.
    pub fn window(
        &self,
        steps: &[Vec<TokenId>],
        states: &mut [LayerState],
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        if !self.layers.iter().all(RecurrentLayer::has_window) {
            return self.fold()?.window(steps, states, mode);
        }
        let count = steps.len();
        let mut tokens = Some(steps.concat());
        let mut output = self.embedding.clone();
        for (layer, state) in self.layers.iter().zip(states) {
            let sequence = Sequence { steps: count, tokens: tokens.take() };
            (output, *state) = layer.window(&layer.project(&output)?, sequence, state)?;
            if let Some(dropout) = self.dropout {
                output = dropout.forward(&output, mode)?;
            }
        }
        Ok(output)
    }

    /// One score per token of the vocabulary, as [`FoldedModel::logits`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn logits(&self, outputs: &Tensor) -> Result<Tensor> {
        affine(outputs, &self.head_weight, Some(&self.head_bias))
    }

    /// The network in the form that candle runs. Gradients flow through it to the parameters, so training
    /// folds once a window, serving once at load.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn fold(&self) -> Result<FoldedModel> {
        let layers: Vec<_> = self.layers.iter().map(RecurrentLayer::fold).collect::<Result<_>>()?;
        let zeros = layers.iter().map(|layer| layer.zeros(1)).collect::<Result<_>>()?;
        let table = match layers.first() {
            Some(first) => first.project(&self.embedding)?,
            None => self.embedding.clone(),
        };
        Ok(FoldedModel {
            table,
            layers,
            zeros,
            dropout: self.dropout,
            head_weight: self.head_weight.t()?.contiguous()?,
            head_bias: self.head_bias.clone(),
        })
    }
}

/// A [`RecurrentModel`] ready to step.
pub struct FoldedModel {
    /// The first layer's input gates by token, `W_ih · embedding + b_ih`: [vocabulary, gates × hidden].
    /// A step then looks a row up where it would multiply.
    table: Tensor,
    layers: Vec<FoldedLayer>,
    zeros: Vec<LayerState>,
    dropout: Option<Dropout>,
    /// [hidden, vocabulary].
    head_weight: Tensor,
    head_bias: Tensor,
}

impl FoldedModel {
    #[must_use]
    pub fn device(&self) -> &Device {
        self.table.device()
    }

    /// The state of `rows` sequences before any token, one per layer.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn zeros(&self, rows: usize) -> Result<Vec<LayerState>> {
        self.layers.iter().map(|layer| layer.zeros(rows)).collect()
    }

    /// One token for every row: `tokens` is [rows]. Replaces `states` and returns what the last layer
    /// gives to the head, [rows, hidden].
    ///
    /// # Errors
    /// When a token is outside the vocabulary.
    pub fn advance(
        &self,
        tokens: &Tensor,
        states: &mut [LayerState],
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let mut projected = self.table.index_select(tokens, 0)?;
        let mut output = None;
        for (index, (layer, state)) in self.layers.iter().zip(states).enumerate() {
            if index > 0
                && let Some(below) = &output
            {
                projected = layer.project(below)?;
            }
            *state = layer.step(&projected, state)?;
            output = Some(match self.dropout {
                Some(dropout) => dropout.forward(&state.hidden, mode)?,
                None => state.hidden.clone(),
            });
        }
        Ok(output.unwrap_or(projected))
    }

    /// As [`RecurrentModel::window`], a step after the other.
    fn window(
        &self,
        steps: &[Vec<TokenId>],
        states: &mut [LayerState],
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let outputs = steps.iter().map(|tokens| {
            self.advance(&Tensor::new(tokens.as_slice(), self.device())?, states, mode)
        });
        let outputs = Tensor::cat(&outputs.collect::<Result<Vec<_>>>()?, 0)?;
        for state in states {
            *state = state.detach();
        }
        Ok(outputs)
    }

    /// One score per token of the vocabulary: [rows, hidden] to [rows, vocabulary].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn logits(&self, outputs: &Tensor) -> Result<Tensor> {
        rows_matmul(outputs, &self.head_weight)?.broadcast_add(&self.head_bias)
    }

    /// Reads every row's tokens. Rows are taken longest first, so those that still have tokens are
    /// always the first ones of the batch.
    fn read(&self, rows: &mut [Row<'_, Vec<LayerState>>]) -> Result<Vec<f32>> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| Reverse(rows[row].tokens.len()));
        let mut states = self.gather(rows, &order)?;
        let longest = order.first().map_or(0, |&row| rows[row].tokens.len());
        let mut active = rows.len();
        for time in 0..longest {
            let tokens: Vec<TokenId> =
                order.iter().map_while(|&row| rows[row].tokens.get(time).copied()).collect();
            let left = tokens.len();
            retire(rows, &order[left..active], &states, left)?;
            if left < active {
                states = states.iter().map(|s| s.rows(0, left)).collect::<Result<_>>()?;
            }
            active = left;
            let tokens = Tensor::from_vec(tokens, active, self.device())?;
            self.advance(&tokens, &mut states, &mut Mode::Evaluation)?;
        }
        retire(rows, &order[..active], &states, 0)?;
        self.wanted(rows)
    }

    /// One state per layer, of all rows in this order.
    fn gather(
        &self,
        rows: &[Row<'_, Vec<LayerState>>],
        order: &[usize],
    ) -> Result<Vec<LayerState>> {
        (0..self.layers.len())
            .map(|layer| {
                let states: Vec<_> = order.iter().map(|&row| &rows[row].state[layer]).collect();
                LayerState::stack(&states)
            })
            .collect()
    }

    /// The logits of the rows that want them, in one product.
    fn wanted(&self, rows: &[Row<'_, Vec<LayerState>>]) -> Result<Vec<f32>> {
        let outputs: Vec<&Tensor> = rows
            .iter()
            .filter(|row| row.want_logits)
            .filter_map(|row| row.state.last().map(|state| &state.hidden))
            .collect();
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        self.logits(&Tensor::cat(&outputs, 0)?)?.flatten_all()?.to_vec1()
    }
}

/// Gives rows that have read all their tokens their state back: row i of `which` is row `first` + i of
/// the batch.
fn retire(
    rows: &mut [Row<'_, Vec<LayerState>>],
    which: &[usize],
    states: &[LayerState],
    first: usize,
) -> Result<()> {
    for (offset, &row) in which.iter().enumerate() {
        *rows[row].state =
            states.iter().map(|s| s.rows(first + offset, 1)).collect::<Result<_>>()?;
    }
    Ok(())
}

impl Stepwise for FoldedModel {
    /// One row per layer, on the device.
    type State = Vec<LayerState>;

    fn step(
        &self,
        rows: &mut [Row<'_, Self::State>],
        logits: &mut Vec<f32>,
    ) -> std::result::Result<(), RunError> {
        logits.clear();
        if !rows.is_empty() {
            *logits = self.read(rows).map_err(|error| RunError(error.to_string()))?;
        }
        Ok(())
    }

    fn chunk(&self, others: usize) -> usize {
        recurrent_chunk(others)
    }
}

/// Tokens of a prompt that are read in one step beside so many texts. They are read one after the other, and all
/// but the first without the others beside them: alone that costs nothing, and beside many twice as much.
pub fn recurrent_chunk(others: usize) -> usize {
    match others {
        0 => usize::MAX,
        1..8 => 8,
        _ => 1,
    }
}

impl Generator for FoldedModel {
    fn begin(&self) -> Self::State {
        self.zeros.clone()
    }
}
