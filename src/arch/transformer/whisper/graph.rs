//! The network as candle's operations: what runs on a GPU, and what the plan is tested against.

use std::sync::Arc;

use candle_core::{D, Device, Result, Tensor};

use crate::arch::transformer::whisper::config::{Config, Head};
use crate::arch::transformer::whisper::speech::Speech;
use crate::arch::transformer::whisper::weights::{Attention, Conv1d, Feed, Weights};
use crate::engine::{Row, RunError, Stepwise, TokenId};
use crate::media::mel::Spectrogram;

/// A Whisper on a device.
pub struct Graph {
    pub config: Config,
    pub weights: Weights,
    pub device: Device,
}

/// Keys and values [heads, time, depth] of one layer.
#[derive(Clone)]
pub struct Memory {
    keys: Tensor,
    values: Tensor,
}

/// What one sequence hears and has read: a memory per layer.
#[derive(Clone)]
pub struct State {
    audio: Arc<Vec<Memory>>,
    layers: Vec<Memory>,
    length: usize,
}

impl Graph {
    /// [`audio_positions`, width] of a window [1, mels, frames].
    fn encoder(&self, mels: &Tensor) -> Result<Tensor> {
        let encoder = &self.weights.encoder;
        let x = encoder.conv1.forward(mels, 1)?.gelu_erf()?;
        let x = encoder.conv2.forward(&x, 2)?.gelu_erf()?;
        let mut x = x.squeeze(0)?.t()?.contiguous()?.broadcast_add(&encoder.positions)?;
        for block in &encoder.blocks {
            let attention = &block.attention;
            let normal = attention.norm.forward(&x)?;
            let heads = |rows: Tensor| split(&rows, 1, self.config.encoder_heads);
            let memory = Memory {
                keys: heads(attention.key.forward(&normal)?)?,
                values: heads(attention.value.forward(&normal)?)?,
            };
            let queries = heads(attention.query.forward(&normal)?)?;
            x = (x + attention.out.forward(&merge(&memory.read(&queries, false)?)?)?)?;
            x = (&x + block.feed.forward(&x)?)?;
        }
        encoder.norm.forward(&x)
    }

    fn input(&self, window: &Spectrogram) -> Result<Tensor> {
        let (mels, frames) = (self.config.mels, self.config.frames());
        let rows = Tensor::from_vec(window.data.clone(), (frames, mels), &self.device)?;
        rows.t()?.contiguous()?.unsqueeze(0)
    }

    /// The cross-attention's keys and values of one window [`audio_positions`, width].
    fn hear(&self, encoded: &Tensor) -> Result<Vec<Memory>> {
        let heads = |rows: Tensor| split(&rows, 1, self.config.decoder_heads)?.squeeze(0);
        let memory = |cross: &Attention| {
            let keys = heads(cross.key.forward(encoded)?)?;
            Ok(Memory { keys, values: heads(cross.value.forward(encoded)?)? })
        };
        self.weights.decoder.blocks.iter().map(|block| memory(&block.cross)).collect()
    }

    /// The logits of the rows that want them.
    fn decoder(&self, rows: &mut [Row<'_, State>]) -> Result<Vec<f32>> {
        let x = self.read(rows, |_, _| Ok(()))?;
        let decoder = &self.weights.decoder;
        let counts = rows.iter().map(|row| row.tokens.len());
        let ends = counts.scan(0, last_row);
        let wanted = ends.zip(rows.iter()).filter(|(_, row)| row.want_logits);
        let last: Vec<u32> = wanted.map(|(end, _)| end).collect();
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let last = Tensor::new(last, &self.device)?;
        let normal = decoder.norm.forward(&x.index_select(&last, 0)?)?;
        normal.matmul(&decoder.tokens.t()?)?.flatten_all()?.to_vec1()
    }

    /// What the blocks make of the rows: [tokens, width]. Linear layers take all rows at once, attention one by one.
    /// `see` is shown the queries of each layer's cross-attention, [tokens, width].
    fn read(
        &self,
        rows: &mut [Row<'_, State>],
        mut see: impl FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let decoder = &self.weights.decoder;
        let counts: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let mut x = self.embed(rows)?;
        for (layer, block) in decoder.blocks.iter().enumerate() {
            let normal = block.attention.norm.forward(&x)?;
            let [queries, keys, values] =
                [&block.attention.query, &block.attention.key, &block.attention.value]
                    .map(|linear| linear.forward(&normal));
            let (queries, keys, values) = (queries?, keys?, values?);
            let attended = each(rows, &counts, |row, range| {
                let part = |all: &Tensor| self.heads_of(all, range);
                let memory = row.state.extend(layer, &part(&keys)?, &part(&values)?)?;
                memory.read(&part(&queries)?, true)
            })?;
            x = (x + block.attention.out.forward(&attended)?)?;
            let queries = block.cross.query.forward(&block.cross.norm.forward(&x)?)?;
            see(layer, &queries)?;
            let attended = each(rows, &counts, |row, range| {
                row.state.audio[layer].read(&self.heads_of(&queries, range)?, false)
            })?;
            x = (x + block.cross.out.forward(&attended)?)?;
            x = (&x + block.feed.forward(&x)?)?;
        }
        for row in rows.iter_mut() {
            row.state.length += row.tokens.len();
        }
        Ok(x)
    }

    /// Tokens and positions of all rows, one after the other: [tokens, width].
    fn embed(&self, rows: &[Row<'_, State>]) -> Result<Tensor> {
        let decoder = &self.weights.decoder;
        let tokens: Vec<TokenId> = rows.iter().flat_map(|row| row.tokens).copied().collect();
        let tokens = Tensor::new(tokens, &self.device)?;
        let positions: Vec<Tensor> = rows
            .iter()
            .map(|row| decoder.positions.narrow(0, row.state.length, row.tokens.len()))
            .collect::<Result<_>>()?;
        decoder.tokens.index_select(&tokens, 0)? + Tensor::cat(&positions, 0)?
    }

    /// A range of rows as [heads, tokens, depth].
    fn heads_of(&self, rows: &Tensor, [start, count]: [usize; 2]) -> Result<Tensor> {
        split(&rows.narrow(0, start, count)?, 1, self.config.decoder_heads)?.squeeze(0)
    }

    fn check(&self, row: &Row<'_, State>) -> std::result::Result<(), RunError> {
        let known = |&token: &TokenId| (token as usize) < self.config.vocabulary;
        let fits = row.state.length + row.tokens.len() <= self.config.text_positions;
        if row.tokens.is_empty() || !fits || !row.tokens.iter().all(known) {
            return Err(RunError("a step's tokens do not fit the network".to_owned()));
        }
        Ok(())
    }
}

/// What `attend` makes of each row and its range of tokens, as rows [tokens, width] again.
fn each<'a>(
    rows: &mut [Row<'a, State>],
    counts: &[usize],
    attend: impl Fn(&mut Row<'a, State>, [usize; 2]) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut start = 0;
    let mut all = Vec::with_capacity(rows.len());
    for (row, &count) in rows.iter_mut().zip(counts) {
        all.push(merge(&attend(row, [start, count])?.unsqueeze(0)?)?);
        start += count;
    }
    Tensor::cat(&all, 0)
}

fn last_row(end: &mut u32, count: usize) -> Option<u32> {
    *end += u32::try_from(count).ok()?;
    end.checked_sub(1)
}

impl Speech for Graph {
    type Audio = Vec<Memory>;

    fn positions(&self, window: &Spectrogram) -> std::result::Result<Vec<f32>, RunError> {
        let encoded = self.input(window).and_then(|mels| self.encoder(&mels));
        encoded.and_then(|encoded| encoded.flatten_all()?.to_vec1()).map_err(failed)
    }

    fn encode(&self, window: &Spectrogram) -> std::result::Result<Vec<Memory>, RunError> {
        let encoded = self.input(window).and_then(|mels| self.encoder(&mels));
        encoded.and_then(|encoded| self.hear(&encoded)).map_err(failed)
    }

    fn attend(
        &self,
        audio: &Arc<Vec<Memory>>,
        tokens: &[TokenId],
        heads: &[Head],
        show: &mut dyn FnMut(&[f32]),
    ) -> std::result::Result<(), RunError> {
        let state = &mut self.begin(audio);
        let row = Row { state, tokens, want_logits: false };
        self.check(&row)?;
        let read = self.read(&mut [row], |layer, queries| {
            let queries = self.heads_of(queries, [0, tokens.len()])?;
            let scores = audio[layer].scores(&queries)?;
            for &Head(_, at) in heads.iter().filter(|head| head.0 == layer) {
                show(&scores.get(at)?.flatten_all()?.to_vec1::<f32>()?);
            }
            Ok(())
        });
        read.map(drop).map_err(failed)
    }

    fn begin(&self, audio: &Arc<Vec<Memory>>) -> State {
        State { audio: Arc::clone(audio), layers: Vec::new(), length: 0 }
    }
}

impl Stepwise for Graph {
    type State = State;

    /// On a CPU one by one, so that an answer is the same bits whatever else is in the batch.
    fn step(
        &self,
        rows: &mut [Row<'_, State>],
        logits: &mut Vec<f32>,
    ) -> std::result::Result<(), RunError> {
        rows.iter().try_for_each(|row| self.check(row))?;
        let at_once = if self.device.is_cpu() { 1 } else { rows.len().max(1) };
        logits.clear();
        for part in rows.chunks_mut(at_once) {
            logits.extend(self.decoder(part).map_err(failed)?);
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: candle_core::Error) -> RunError {
    RunError(error.to_string())
}

impl State {
    /// Adds keys and values [heads, tokens, depth] to a layer's memory.
    fn extend(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<&Memory> {
        match self.layers.get_mut(layer) {
            Some(memory) => {
                memory.keys = Tensor::cat(&[&memory.keys, keys], 1)?;
                memory.values = Tensor::cat(&[&memory.values, values], 1)?;
            }
            None => self.layers.push(Memory { keys: keys.clone(), values: values.clone() }),
        }
        Ok(&self.layers[layer])
    }
}

impl Memory {
    /// How near queries [.., heads, tokens, depth] are to each key: [.., heads, tokens, time].
    fn scores(&self, queries: &Tensor) -> Result<Tensor> {
        #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
        let scale = 1.0 / (queries.dim(D::Minus1)? as f64).sqrt();
        let keys = self.keys.transpose(D::Minus2, D::Minus1)?.contiguous()?;
        (queries * scale)?.matmul(&keys)
    }

    /// What queries [.., heads, tokens, depth] read. A `causal` memory ends in the queries' own tokens,
    /// and none of them sees those after it.
    fn read(&self, queries: &Tensor, causal: bool) -> Result<Tensor> {
        let (tokens, time) = (queries.dim(D::Minus2)?, self.keys.dim(D::Minus2)?);
        let mut scores = self.scores(queries)?;
        if causal && tokens > 1 {
            let before = time - tokens;
            let mask = |i: usize| {
                (0..time).map(move |t| if t <= before + i { 0.0 } else { f32::NEG_INFINITY })
            };
            let mask: Vec<f32> = (0..tokens).flat_map(mask).collect();
            let mask = Tensor::from_vec(mask, (tokens, time), queries.device())?;
            scores = scores.broadcast_add(&mask)?;
        }
        candle_nn::ops::softmax_last_dim(&scores)?.matmul(&self.values)
    }
}

/// [batch · time, heads · depth] to [batch, heads, time, depth].
fn split(rows: &Tensor, batch: usize, heads: usize) -> Result<Tensor> {
    let (all, width) = rows.dims2()?;
    let parts = rows.reshape((batch, all / batch, heads, width / heads))?;
    parts.transpose(1, 2)?.contiguous()
}

/// [batch, heads, time, depth] to [batch · time, heads · depth].
fn merge(parts: &Tensor) -> Result<Tensor> {
    let (batch, heads, time, depth) = parts.dims4()?;
    parts.transpose(1, 2)?.contiguous()?.reshape((batch * time, heads * depth))
}

impl Conv1d {
    /// [batch, input, time] to [batch, output, time / stride].
    fn forward(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        let y = x.conv1d(&self.weight, 1, stride, 1, 1)?;
        y.broadcast_add(&self.bias.reshape((1, (), 1))?)
    }
}

impl Feed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&self.up.forward(&self.norm.forward(x)?)?.gelu_erf()?)
    }
}
