//! Networks that others trained, held to what their authors' programs answer. Needs the packages that
//! `scripts/pretrained.sh` makes, so it is run by name: `cargo test --test pretrained`.

mod efficientnet;
mod minilm;
mod support;
mod whisper;
