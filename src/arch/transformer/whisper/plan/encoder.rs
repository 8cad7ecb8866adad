//! Sound to positions.

use candle_core::Result;

use crate::arch::transformer::whisper::config::Config;
use crate::arch::transformer::whisper::plan::block::{Feed, Room, SelfAttention};
use crate::arch::transformer::whisper::weights;
use crate::compute::kernels::{
    Activation, Attention, KeyValues, Level, Norm, Packed, Product, Scratch, attend, gemm,
};
use crate::engine::RunError;
use crate::media::mel::Spectrogram;

/// The encoder's weights, packed.
pub struct Encoder {
    mels: usize,
    width: usize,
    heads: usize,
    frames: usize,
    conv1: Packed,
    conv2: Packed,
    /// [`audio_positions`, width].
    positions: Vec<f32>,
    blocks: Vec<(SelfAttention, Feed)>,
    norm: Norm,
}

/// What a window needs on its way, one set for all layers: tens of megabytes, whose pages the system has to clear. Kept
/// between windows they would be a fifth of what a small network's weights take.
struct Work {
    /// The window and what the first convolution makes of it, [frames + 2, channels]: a frame of zeros before and
    /// after it.
    heard: Vec<f32>,
    middle: Vec<f32>,
    room: Room,
    memory: KeyValues,
    scratch: Scratch,
}

impl Encoder {
    pub fn new(from: &weights::Encoder, config: &Config, level: Level) -> Result<Self> {
        let block = |block: &weights::EncoderBlock| {
            Ok((SelfAttention::new(&block.attention, level)?, Feed::new(&block.feed, level)?))
        };
        Ok(Self {
            mels: config.mels,
            width: config.width,
            heads: config.encoder_heads,
            frames: config.frames(),
            conv1: pack(&from.conv1)?.at(level),
            conv2: pack(&from.conv2)?.at(level),
            positions: from.positions.flatten_all()?.to_vec1()?,
            blocks: from.blocks.iter().map(block).collect::<Result<_>>()?,
            norm: from.norm.kernel()?,
        })
    }

    fn work(&self) -> Work {
        let padded = |channels: usize| vec![0.0; (self.frames + 2) * channels];
        Work {
            heard: padded(self.mels),
            middle: padded(self.width),
            room: Room::default(),
            memory: KeyValues::new(self.heads, self.width / self.heads, self.frames / 2),
            scratch: Scratch::default(),
        }
    }

    /// [`audio_positions`, width] of one window.
    pub fn run(
        &self,
        level: Level,
        window: &Spectrogram,
    ) -> std::result::Result<Vec<f32>, RunError> {
        if window.data.len() != self.frames * self.mels {
            return Err(RunError("a window does not fit the network".to_owned()));
        }
        let mut work = self.work();
        self.listen(level, &window.data, &mut work);
        let Work { room, memory, scratch, .. } = &mut work;
        let (rows, stride) = (self.frames / 2, 3 * self.width);
        for (attention, feed) in &self.blocks {
            attention.run(level, room, |qkv, out| {
                memory.clear();
                memory.push(&qkv[self.width..], &qkv[2 * self.width..], stride, rows);
                memory.settle(level);
                let all = Attention { queries: qkv, stride, rows, memory, causal: None, out };
                attend(level, all, scratch);
            });
            feed.run(level, room);
        }
        let mut encoded = vec![0.0; room.x.len()];
        self.norm.rows(level, &room.x, &mut encoded);
        Ok(encoded)
    }

    /// The two convolutions, and where each position lies.
    fn listen(&self, level: Level, window: &[f32], work: &mut Work) {
        let Work { heard, middle, room, .. } = work;
        heard[self.mels..][..window.len()].copy_from_slice(window);
        let inside = &mut middle[self.width..][..self.frames * self.width];
        convolve(level, &self.conv1, heard, 1, inside);
        room.x.resize(self.positions.len(), 0.0);
        convolve(level, &self.conv2, middle, 2, &mut room.x);
        room.x.iter_mut().zip(&self.positions).for_each(|(value, position)| *value += position);
    }
}

/// A convolution over [time, channels] that are padded already, and the GELU after it. Its windows are the
/// rows of a product, one step further each.
fn convolve(level: Level, weights: &Packed, padded: &[f32], step: usize, out: &mut [f32]) {
    let (m, a_stride) = (out.len() / weights.n(), step * weights.k() / 3);
    let activation = Activation::Gelu;
    gemm(
        level,
        weights,
        Product { a_stride, m, activation, ..Product::rows(weights, padded, out) },
    );
}

/// Weights [output, input, 3] as rows over time, then channels.
fn pack(from: &weights::Conv1d) -> Result<Packed> {
    let (output, input, taps) = from.weight.dims3()?;
    let weights: Vec<f32> = from.weight.permute((0, 2, 1))?.flatten_all()?.to_vec1()?;
    let bias: Vec<f32> = from.bias.to_vec1()?;
    Ok(Packed::new(&weights, Some(&bias), output, taps * input))
}
