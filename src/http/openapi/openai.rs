//! Shapes of what OpenAI's clients send and read. `null` is as good as absent.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Texts, or token ids: one, or a list.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "named in the document alone")]
pub enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokensOfEach(Vec<Vec<u32>>),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "named in the document alone")]
pub enum Stop {
    Text(String),
    Texts(Vec<String>),
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// A name, or `name@version`.
    model: String,
    prompt: Prompt,
    #[schema(maximum = 4_294_967_295_u64)]
    max_tokens: Option<u64>,
    #[schema(minimum = 1, maximum = 32)]
    n: Option<u32>,
    #[schema(minimum = 1, maximum = 32)]
    best_of: Option<u32>,
    #[schema(maximum = 5)]
    logprobs: Option<u32>,
    echo: Option<bool>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[schema(minimum = 0, maximum = 10)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    top_k: Option<u32>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    logit_bias: Option<HashMap<String, f64>>,
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    seed: Option<u64>,
    user: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// A name, or `name@version`.
    model: String,
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    max_tokens: Option<u64>,
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    max_completion_tokens: Option<u64>,
    #[schema(minimum = 1, maximum = 32)]
    n: Option<u32>,
    logprobs: Option<bool>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[schema(minimum = 0, maximum = 10)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    top_k: Option<u32>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    logit_bias: Option<HashMap<String, f64>>,
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    seed: Option<u64>,
    user: Option<String>,
    tool_choice: Option<NoTool>,
    #[schema(value_type = Option<Object>)]
    response_format: Option<serde_json::Value>,
    modalities: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "named in the document alone")]
pub enum NoTool {
    None,
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    role: String,
    content: Content,
}

/// A text, or parts `{"type": "text", "text": …}`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "named in the document alone")]
pub enum Content {
    Text(String),
    Parts(Vec<HashMap<String, String>>),
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingRequest {
    /// A name, or `name@version`.
    model: String,
    input: Prompt,
    encoding_format: Option<EncodingFormat>,
    #[schema(minimum = 1)]
    dimensions: Option<u32>,
    user: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "named in the document alone")]
pub enum EncodingFormat {
    Float,
    Base64,
}

/// Of completions and of chats.
#[derive(Serialize, ToSchema)]
pub struct GeneratedBody {
    id: String,
    object: String,
    created: u64,
    model: String,
    system_fingerprint: String,
    #[schema(value_type = Vec<Object>)]
    choices: Vec<serde_json::Value>,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as clients read them")]
pub struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

#[derive(Serialize, ToSchema)]
pub struct EmbeddingBody {
    object: String,
    #[schema(value_type = Vec<Object>)]
    data: Vec<serde_json::Value>,
    model: String,
    #[schema(value_type = Object)]
    usage: serde_json::Value,
}

/// A form; `timestamp_granularities[]` may be repeated.
#[derive(Serialize, ToSchema)]
pub struct TranscriptionForm {
    #[schema(value_type = String, format = Binary)]
    file: String,
    /// A name, or `name@version`.
    model: String,
    #[schema(required = false)]
    language: String,
    #[schema(required = false)]
    prompt: String,
    #[schema(required = false)]
    response_format: TranscriptionFormat,
    #[schema(required = false, minimum = 0, maximum = 1)]
    temperature: f64,
    /// Answers with events.
    #[schema(required = false)]
    stream: bool,
    /// What `verbose_json` tells the times of.
    #[serde(rename = "timestamp_granularities[]")]
    #[schema(required = false)]
    timestamp_granularities: Vec<Granularity>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "named in the document alone")]
pub enum Granularity {
    Segment,
    Word,
}

/// As that of transcriptions; the language is always English.
#[derive(Serialize, ToSchema)]
pub struct TranslationForm {
    #[schema(value_type = String, format = Binary)]
    file: String,
    /// A name, or `name@version`.
    model: String,
    #[schema(required = false)]
    prompt: String,
    #[schema(required = false)]
    response_format: TranscriptionFormat,
    #[schema(required = false, minimum = 0, maximum = 1)]
    temperature: f64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "named in the document alone")]
pub enum TranscriptionFormat {
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
}

/// `verbose_json` has segments and words, too.
#[derive(Serialize, ToSchema)]
pub struct TranscriptionBody {
    text: String,
}
