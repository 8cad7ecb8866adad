//! Makes the gRPC service of `src/grpc/inference.proto`.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "src/grpc";
    let proto = format!("{folder}/inference.proto");
    println!("cargo::rerun-if-changed={proto}");
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).open_file("inference.proto")?;
    // What reflection shows.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("inference.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_client(false)
        // Tensors are taken out of the message as they lie.
        .bytes(".inference")
        .codec_path("crate::grpc::codec::Counting")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
