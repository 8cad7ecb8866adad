//! A command that works, for one very model.

use axum::http::HeaderValue;
use axum::http::uri::Authority;

use crate::domain::Card;

/// Where the caller found this server, for an example to be copied. Anything odd is not repeated.
pub fn base(host: Option<&HeaderValue>, authority: Option<&Authority>) -> String {
    let host = host
        .and_then(|host| host.to_str().ok())
        .or_else(|| authority.map(Authority::as_str))
        .filter(|host| (1..=255).contains(&host.len()) && host.bytes().all(plain));
    format!("http://{}", host.unwrap_or("127.0.0.1:8080"))
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
}

/// A curl line that predicts with this model.
pub fn curl(card: &Card, base: &str) -> String {
    let input = match card.task.split('-').next() {
        Some("image") => "--data-binary @picture.jpg",
        Some("speech") => "--data-binary @speech.wav",
        Some("text") => "-d 'In the beginning'",
        _ => "--data-binary @FILE",
    };
    format!("curl {input} {base}/v1/predict/{}", card.name)
}
