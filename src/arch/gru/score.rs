//! How well a network foretells a text.

use std::collections::BTreeMap;

use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::streams::Streams;
use crate::arch::report::LanguageDetail;
use crate::dataset::{DataError, Store};
use crate::engine::{Generator, Language, Row, RunError, Stepwise, TokenId};

/// Rows that a long text is read in, side by side.
const ROWS_MAX: usize = 32;

/// A row shorter than this would start from nothing too often.
const ROW_TOKENS_MIN: usize = 1024;

/// Tokens that are turned back into text at once.
const READ_TOGETHER: usize = 1 << 20;

/// How surprising a text was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean over the tokens, in nats.
    pub nats_per_token: f64,
    pub bits_per_character: f64,
    pub read: LanguageDetail,
}

impl Score {
    /// The figures as manifests and reports name them.
    #[must_use]
    pub fn metrics(self) -> BTreeMap<String, f64> {
        BTreeMap::from([
            ("bits_per_character".to_owned(), self.bits_per_character),
            ("perplexity".to_owned(), self.nats_per_token.exp()),
        ])
    }
}

/// Reads `tokens` and scores each but the first of every row. `None` for less than two tokens.
///
/// # Errors
/// When the arithmetic fails.
pub fn score<N: Generator>(
    network: &N,
    language: &TextLanguage,
    tokens: &Store<TokenId>,
) -> Result<Option<Score>, RunError> {
    let failed = |error: DataError| RunError(error.to_string());
    let rows = (tokens.len() / ROW_TOKENS_MIN).clamp(1, ROWS_MAX);
    let Some(streams) = Streams::new(tokens, rows, 1) else { return Ok(None) };
    let mut states: Vec<N::State> = (0..rows).map(|_| network.begin()).collect();
    let mut nats = 0.0;
    for window in 0..streams.windows() {
        let window = streams.window(window).map_err(failed)?;
        let inputs: Vec<TokenId> = window.inputs().flatten().collect();
        nats += surprise(network, &mut states, &inputs, &window.targets())?;
    }
    let read = LanguageDetail {
        tokens: tokens.len(),
        tokens_scored: streams.windows() * rows,
        characters: characters(language, tokens).map_err(failed)?,
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
    let (scored, all, characters) =
        (read.tokens_scored as f64, read.tokens as f64, read.characters.max(1) as f64);
    let nats_per_token = nats / scored;
    let bits_per_character = nats_per_token / std::f64::consts::LN_2 * all / characters;
    Ok(Some(Score { nats_per_token, bits_per_character, read }))
}

/// How many characters the tokens stand for.
fn characters(language: &TextLanguage, tokens: &Store<TokenId>) -> Result<usize, DataError> {
    let starts = (0..tokens.len()).step_by(READ_TOGETHER);
    let counts = starts.map(|start| {
        let end = (start + READ_TOGETHER).min(tokens.len());
        Ok(language.text(&tokens.get(start..end)?).chars().count())
    });
    counts.sum()
}

/// One step of every row: −Σ ln p(target), in nats.
fn surprise<N: Stepwise>(
    network: &N,
    states: &mut [N::State],
    inputs: &[TokenId],
    targets: &[TokenId],
) -> Result<f64, RunError> {
    let mut rows: Vec<Row<'_, N::State>> = states
        .iter_mut()
        .zip(inputs.chunks(1))
        .map(|(state, tokens)| Row { state, tokens, want_logits: true })
        .collect();
    let mut logits = Vec::new();
    network.step(&mut rows, &mut logits)?;
    let width = (logits.len() / targets.len().max(1)).max(1);
    let nats = logits.chunks_exact(width).zip(targets).map(|(row, &target)| {
        let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|&v| (f64::from(v) - most).exp()).sum();
        let target = row.get(target as usize).copied().unwrap_or(f32::NEG_INFINITY);
        sum.ln() + most - f64::from(target)
    });
    Ok(nats.sum())
}
