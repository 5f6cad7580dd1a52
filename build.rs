//! Compiles the proto with `protox`, so that building needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PROTO: &str = "exposia/notifications/v1/notifications.proto";
const PACKAGE: &str = ".exposia.notifications.v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let clients = out.join("clients");
    fs::create_dir_all(&clients)?;
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(PACKAGE, "crate::wire::proto::v1")
        .out_dir(clients)
        .compile_fds(descriptors.clone())?;
    // The server takes a request of a stream as what came of reading it, so that one that cannot be read does not end the stream.
    let streamed = format!("{PACKAGE}.Streamed");
    let mut served = descriptors;
    let services = served.file.iter_mut().flat_map(|file| &mut file.service);
    for method in services.flat_map(|service| &mut service.method).filter(|method| method.client_streaming()) {
        method.input_type = Some(streamed.clone());
    }
    tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .extern_path(streamed, "crate::wire::streamed::Streamed")
        .compile_fds(served)?;
    Ok(())
}
