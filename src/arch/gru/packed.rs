//! The network on a CPU: weights packed once, at load, and a state that is plain numbers.

use std::cmp::Reverse;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};

use crate::arch::gru::net::{RecurrentModel, recurrent_chunk};
use crate::compute::kernels::{Buffer, Level, Packed, Product, gemm};
use crate::compute::layers::PackedLayer;
use crate::engine::{Generator, Row, RunError, Stepwise, TokenId};

/// A [`RecurrentModel`] for the kernels. A row's numbers do not depend on the rows beside it.
pub struct PackedModel {
    level: Level,
    /// The first layer's input gates by token: [vocabulary, gates × hidden]. A step then looks a row up
    /// where it would multiply.
    table: Vec<f32>,
    layers: Vec<PackedLayer>,
    head: Packed,
    /// One a thread that has run it.
    idle: Mutex<Vec<Work>>,
}

/// Room for the rows of one step, used again.
#[derive(Default)]
struct Work {
    /// Of each layer, [rows, hidden].
    hidden: Vec<Buffer>,
    /// Of each layer of an LSTM, [rows, hidden].
    cell: Vec<Buffer>,
    /// The two halves of a layer's gates, [rows, gates × hidden].
    from_input: Buffer,
    from_state: Buffer,
    /// What the head reads of the rows that want logits, [rows, hidden].
    outputs: Buffer,
}

impl PackedModel {
    /// # Errors
    /// When the parameters cannot be copied.
    pub fn new(model: &RecurrentModel, level: Level) -> Result<Self> {
        let layers = model.layers().iter().map(|layer| layer.pack(level)).collect::<Result<_>>()?;
        let table = match model.layers().first() {
            Some(first) => first.project(model.embedding())?,
            None => model.embedding().clone(),
        };
        let (weight, bias) = model.head();
        let (rows, columns) = weight.dims2()?;
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        Ok(Self {
            level,
            table: values(&table)?,
            layers,
            head: Packed::new(&values(weight)?, Some(&values(bias)?), rows, columns).at(level),
            idle: Mutex::default(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Work>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Values of a state: of each layer the hidden ones, and the cell's where it has one.
    fn state_len(&self) -> usize {
        self.layers.iter().map(PackedLayer::state_len).sum()
    }

    /// Reads every row's tokens. Rows are taken longest first, so those that still have tokens are
    /// always the first ones of the batch.
    fn read(
        &self,
        rows: &mut [Row<'_, Vec<f32>>],
        work: &mut Work,
    ) -> std::result::Result<(), RunError> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| Reverse(rows[row].tokens.len()));
        self.gather(rows, &order, work);
        let longest = order.first().map_or(0, |&row| rows[row].tokens.len());
        for time in 0..longest {
            let tokens: Vec<TokenId> =
                order.iter().map_while(|&row| rows[row].tokens.get(time).copied()).collect();
            self.advance(&tokens, work)?;
        }
        self.scatter(rows, &order, work);
        Ok(())
    }

    /// One token for each of the first rows.
    fn advance(&self, tokens: &[TokenId], work: &mut Work) -> std::result::Result<(), RunError> {
        let Work { hidden, cell, from_input, from_state, .. } = work;
        for (index, layer) in self.layers.iter().enumerate() {
            let (size, gates) = (tokens.len() * layer.hidden(), tokens.len() * layer.gates());
            let (below, own) = hidden.split_at_mut(index);
            let own = &mut own[0][..size];
            let cells = cell.get_mut(index).map(|cell| &mut cell[..size]);
            if let Some(below) = below.last() {
                from_input.resize(gates);
                let below = &below[..tokens.len() * self.layers[index - 1].hidden()];
                layer.project(self.level, below, from_input);
                let rows: Vec<&[f32]> = from_input.chunks_exact(layer.gates()).collect();
                layer.step(self.level, (&rows, from_state), own, cells);
            } else {
                let rows = self.looked_up(tokens, layer.gates())?;
                layer.step(self.level, (&rows, from_state), own, cells);
            }
        }
        Ok(())
    }

    /// The first layer's input gates of each token.
    fn looked_up(
        &self,
        tokens: &[TokenId],
        width: usize,
    ) -> std::result::Result<Vec<&[f32]>, RunError> {
        let row = |&token: &TokenId| {
            let start = token as usize * width;
            let row = self.table.get(start..start + width);
            row.ok_or_else(|| RunError(format!("token {token} is outside the vocabulary")))
        };
        tokens.iter().map(row).collect()
    }

    /// The rows' states, in this order, into the work's.
    fn gather(&self, rows: &[Row<'_, Vec<f32>>], order: &[usize], work: &mut Work) {
        let Work { hidden, cell, .. } = work;
        hidden.resize_with(self.layers.len(), Buffer::default);
        let with_cell = self.layers.iter().any(PackedLayer::has_cell);
        cell.resize_with(if with_cell { self.layers.len() } else { 0 }, Buffer::default);
        let mut start = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            for part in std::iter::once(&mut hidden[index]).chain(cell.get_mut(index)) {
                part.resize(rows.len() * layer.hidden());
                for (to, &row) in part.chunks_exact_mut(layer.hidden()).zip(order) {
                    to.copy_from_slice(&rows[row].state[start..start + layer.hidden()]);
                }
                start += layer.hidden();
            }
        }
    }

    fn scatter(&self, rows: &mut [Row<'_, Vec<f32>>], order: &[usize], work: &Work) {
        let mut start = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            for part in std::iter::once(&work.hidden[index]).chain(work.cell.get(index)) {
                for (from, &row) in part.chunks_exact(layer.hidden()).zip(order) {
                    rows[row].state[start..start + layer.hidden()].copy_from_slice(from);
                }
                start += layer.hidden();
            }
        }
    }

    /// The logits of the rows that want them, in one product.
    fn wanted(&self, rows: &[Row<'_, Vec<f32>>], work: &mut Work, logits: &mut Vec<f32>) {
        // The last layer's hidden values come before its cell's, which end the state.
        let last = self.layers.last().map_or(0, PackedLayer::state_len);
        let start = self.state_len() - last;
        let wanting = rows.iter().filter(|row| row.want_logits);
        let (count, width) = (wanting.clone().count(), self.head.k());
        work.outputs.resize(count * width);
        for (to, row) in work.outputs.chunks_exact_mut(width).zip(wanting) {
            to.copy_from_slice(&row.state[start..start + width]);
        }
        logits.resize(count * self.head.n(), 0.0);
        gemm(self.level, &self.head, Product::rows(&self.head, &work.outputs, logits));
    }
}

impl Stepwise for PackedModel {
    /// Of each layer the hidden values, then the cell's where it has one.
    type State = Vec<f32>;

    fn step(
        &self,
        rows: &mut [Row<'_, Vec<f32>>],
        logits: &mut Vec<f32>,
    ) -> std::result::Result<(), RunError> {
        let mut work = self.idle().pop().unwrap_or_default();
        let read = self.read(rows, &mut work);
        if read.is_ok() {
            self.wanted(rows, &mut work, logits);
        }
        self.idle().push(work);
        read
    }

    fn chunk(&self, others: usize) -> usize {
        recurrent_chunk(others)
    }
}

impl Generator for PackedModel {
    fn begin(&self) -> Vec<f32> {
        vec![0.0; self.state_len()]
    }
}
