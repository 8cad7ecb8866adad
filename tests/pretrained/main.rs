//! Networks that others trained, held to what their authors' programs answer. Needs the packages that
//! `scripts/pretrained.sh` makes, so it is run by name: `cargo test --test pretrained`.

// `cfg(test)` on each module tells clippy that its helpers are tests.
#[cfg(test)]
mod efficientnet;
#[cfg(test)]
mod minilm;
#[cfg(test)]
mod support;
#[cfg(test)]
mod whisper;
