//! The integration tests: one binary, one file a topic. `cfg(test)` on each module tells clippy that its
//! helpers are tests.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod client;
#[cfg(test)]
mod data;
#[cfg(test)]
mod evaluations;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod load;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod predictions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod training;
#[cfg(test)]
mod transcriptions;
