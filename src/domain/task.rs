//! What models are for, as their manifests say it.

/// A picture to the classes of its labels.
pub const IMAGE_CLASSIFICATION: &str = "image-classification";
/// A text to one that goes on from it.
pub const TEXT_GENERATION: &str = "text-generation";
/// A text to a vector.
pub const TEXT_EMBEDDING: &str = "text-embedding";
/// A recording to what is said in it.
pub const SPEECH_RECOGNITION: &str = "speech-recognition";
