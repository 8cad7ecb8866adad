//! What the compiler made of `inference.proto`.

#![expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code is as it is")]
#![expect(clippy::allow_attributes_without_reason, clippy::enum_variant_names, reason = "as above")]

tonic::include_proto!("inference");

/// The compiled description, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("inference");
