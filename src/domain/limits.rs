//! Bounds on what a request may bring, checked before anything is allocated for it.

/// Bounds on one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaLimits {
    /// Width and height of a picture, each.
    pub image_side_px_max: u32,
    /// Bytes of a decoded picture.
    pub image_decoded_bytes_max: u64,
    pub audio_seconds_max: u32,
    /// Bytes of a text item.
    pub text_bytes_max: usize,
    /// Values of a tensor item.
    pub tensor_values_max: usize,
    /// Items in a list.
    pub items_max: usize,
    /// The most `max_tokens` a caller may ask for.
    pub generated_tokens_max: usize,
}

impl Default for MediaLimits {
    fn default() -> Self {
        Self {
            image_side_px_max: 4096,
            image_decoded_bytes_max: 64 << 20,
            audio_seconds_max: 30 * 60,
            text_bytes_max: 1 << 20,
            tensor_values_max: 16 << 20,
            items_max: 256,
            generated_tokens_max: 4096,
        }
    }
}
