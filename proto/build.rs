//! Compiles the RPC contract with a protobuf compiler that cargo brings, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/gim/v1/gim.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".gim.v1.Field.value").bytes(".gim.v1.Body").compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
